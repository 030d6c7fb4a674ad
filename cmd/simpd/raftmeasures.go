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
		stat("simp_raft_leader", "1 if this node is the leader, otherwise 0.", func(s cluster.Stats) float64 { return boolValue(s.Leads) }),
		stat("simp_raft_term", "The term of Raft.", func(s cluster.Stats) float64 { return float64(s.Term) }),
		stat("simp_raft_voters", "Voting nodes.", func(s cluster.Stats) float64 { return float64(s.Voters) }),
		{name: "simp_raft_spare_voters", kind: prometheus.GaugeValue, read: emitSpareVoters,
			help: "How many more voters the site can lose. Only the leader reports it."},
		stat("simp_raft_replicas", "Nodes that follow the log without a vote.", func(s cluster.Stats) float64 { return float64(s.Replicas) }),
		stat("simp_raft_last_index", "The index of the newest entry in this node's log.", func(s cluster.Stats) float64 { return float64(s.LastLog) }),
		stat("simp_raft_log_octets", "Size of the entries in this node's log, in octets.", func(s cluster.Stats) float64 { return float64(s.LogOctets) }),
		gaugeMeasure("simp_history_octets", "Memory for the newest changes, from which watching programs resume, in octets.", func(n *node) float64 { return float64(n.table.HistoryMemory()) }),
		stat("simp_raft_commit_index", "The index of the newest log entry that this node knows to be committed.", func(s cluster.Stats) float64 { return float64(s.CommitLog) }),
		stat("simp_raft_applied_index", "The index of the newest log entry that this node's table contains.", func(s cluster.Stats) float64 { return float64(s.AppliedLog) }),
		counterMeasure("simp_raft_snapshots_sent_total", "Snapshots that this node, as leader, has begun to send to nodes that lag too far behind.", func(n *node) float64 { return float64(n.cluster.Stats().SnapshotsSent) }),
		stat("simp_changes_waiting", "Changes from this node that wait for the leader.", func(s cluster.Stats) float64 { return float64(s.Waiting) }),
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
		labelledMeasure("simp_changes_total", "Changes of the table that this node requested, by result.", "result", emitChanges),
		took("simp_change_duration_seconds", "Time from the request of a change to its result in this node's table.", func(m *cluster.Metrics) *histogram.Durations { return &m.Change }),
		number("simp_raft_entries_total", "Log entries that this node, as leader, has written.", func(m *cluster.Metrics) uint64 { return m.Entries.Load() }),
		number("simp_raft_entry_changes_total", "Changes in those entries.", func(m *cluster.Metrics) uint64 { return m.Written.Load() }),
		took("simp_raft_commit_duration_seconds", "Time from writing a log entry, as leader, until it was committed and applied here.", func(m *cluster.Metrics) *histogram.Durations { return &m.Commit }),
		took("simp_raft_apply_duration_seconds", "Time to apply a log entry to this node's table.", func(m *cluster.Metrics) *histogram.Durations { return &m.Apply }),
	}
}

func emitChanges(n *node, emit emitter) {
	r := &n.cluster.Metrics().Changes
	emit(float64(r.Applied.Load()), "ok")
	emit(float64(r.Unavailable.Load()), "unavailable")
	emit(float64(r.Unknown.Load()), "unknown")
}
