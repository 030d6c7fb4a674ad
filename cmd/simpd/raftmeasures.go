package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"simpd/cluster"
	"simpd/protocol/histogram"
)

// raftMeasures are of the agreement of the nodes.
func raftMeasures() []measure {
	stat := func(name, help string, read func(s cluster.Stats) float64) measure {
		return gaugeMeasure(name, help, func(n *node) float64 { return read(n.cluster.Stats()) })
	}
	return append([]measure{
		stat("simp_raft_leader", "Whether this node leads.", func(s cluster.Stats) float64 { return boolValue(s.Leads) }),
		stat("simp_raft_term", "Raft's term.", func(s cluster.Stats) float64 { return float64(s.Term) }),
		stat("simp_raft_voters", "Nodes that vote.", func(s cluster.Stats) float64 { return float64(s.Voters) }),
		{name: "simp_raft_spare_voters", kind: prometheus.GaugeValue, read: emitSpareVoters,
			help: "How many more voters the site can lose, as its leader sees it; other nodes do not tell it."},
		stat("simp_raft_replicas", "Nodes that follow without a vote.", func(s cluster.Stats) float64 { return float64(s.Replicas) }),
		stat("simp_raft_last_index", "The newest entry of this node's log.", func(s cluster.Stats) float64 { return float64(s.LastLog) }),
		stat("simp_raft_log_octets", "Octets of the entries in this node's log.", func(s cluster.Stats) float64 { return float64(s.LogOctets) }),
		stat("simp_raft_commit_index", "The newest entry of the log that is known to be committed.", func(s cluster.Stats) float64 { return float64(s.CommitLog) }),
		stat("simp_raft_applied_index", "The newest entry of the log that the table holds.", func(s cluster.Stats) float64 { return float64(s.AppliedLog) }),
		counterMeasure("simp_raft_snapshots_sent_total", "Snapshots that this node, leading, has begun to send to nodes that had fallen behind its log.", func(n *node) float64 { return float64(n.cluster.Stats().SnapshotsSent) }),
		stat("simp_changes_waiting", "Changes that wait for the leader.", func(s cluster.Stats) float64 { return float64(s.Waiting) }),
	}, changeMeasures()...)
}

// emitSpareVoters emits what only a leader knows.
func emitSpareVoters(n *node, emit emitter) {
	if spare := n.cluster.Stats().Tolerance; spare >= 0 {
		emit(float64(spare))
	}
}

// changeMeasures are of the changes of the table.
func changeMeasures() []measure {
	number := func(name, help string, read func(m *cluster.Metrics) uint64) measure {
		return counterMeasure(name, help, func(n *node) float64 { return float64(read(n.cluster.Metrics())) })
	}
	took := func(name, help string, of func(m *cluster.Metrics) *histogram.Durations) measure {
		return durationsMeasure(name, help, func(n *node) *histogram.Durations { return of(n.cluster.Metrics()) })
	}
	return []measure{
		labelledMeasure("simp_changes_total", "Changes of the table that this node wanted, by result.", "result", emitChanges),
		took("simp_change_duration_seconds", "From a wanted change to its result in this node's table.", func(m *cluster.Metrics) *histogram.Durations { return &m.Change }),
		number("simp_raft_entries_total", "Entries that this node, leading, has written to the log.", func(m *cluster.Metrics) uint64 { return m.Entries.Load() }),
		number("simp_raft_entry_changes_total", "Changes in those entries.", func(m *cluster.Metrics) uint64 { return m.Written.Load() }),
		took("simp_raft_commit_duration_seconds", "Until an entry that this node, leading, has written was committed and applied here.", func(m *cluster.Metrics) *histogram.Durations { return &m.Commit }),
		took("simp_raft_apply_duration_seconds", "Of the application of an entry to this node's table.", func(m *cluster.Metrics) *histogram.Durations { return &m.Apply }),
	}
}

func emitChanges(n *node, emit emitter) {
	r := &n.cluster.Metrics().Changes
	emit(float64(r.Applied.Load()), "ok")
	emit(float64(r.Unavailable.Load()), "unavailable")
	emit(float64(r.Unknown.Load()), "unknown")
}
