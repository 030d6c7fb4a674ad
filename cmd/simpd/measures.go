package main

import (
	"strconv"

	"simpd/cluster"
	"simpd/protocol"
	"simpd/protocol/server"
)

// measures lists every metric of the node itself, in the order of the docs.
func measures() []measure {
	return append(append(siteMeasures(), clientMeasures()...), raftMeasures()...)
}

func siteMeasures() []measure {
	return []measure{
		gauge("simp_ready", "Whether clients should be sent to this node.", func(n *node) float64 { return truth(n.Ready() == nil) }),
		gauge("simp_table_index", "The index that this node's table has reached.", func(n *node) float64 { return float64(n.table.Index()) }),
		gauge("simp_listeners", "Users of the site who listen.", func(n *node) float64 { _, l := n.table.View().Len(); return float64(l) }),
		gauge("simp_accounts", "Accounts of the site.", func(n *node) float64 { a, _ := n.table.View().Len(); return float64(a) }),
		gauge("simp_epoch", "This node's epoch; 0 while it has none.", func(n *node) float64 { return float64(n.cluster.Epoch()) }),
		gauge("simp_out_of_touch_seconds", "For how long the majority has not been heard of.", func(n *node) float64 { return n.cluster.Contact().Seconds() }),
	}
}

func clientMeasures() []measure {
	return []measure{
		gauge("simp_connections", "Authenticated connections of clients.", func(n *node) float64 { return float64(n.router.Connections()) }),
		gauge("simp_sessions", "Listening sessions on this node.", func(n *node) float64 { return float64(n.router.Listening()) }),
		counter("simp_connections_accepted_total", "Connections that clients opened.", count(func(m *server.Metrics) *server.Counter { return &m.Accepted })),
		labelled("simp_connections_refused_total", "Connections that were turned away or ended by the server, by reason.", "reason", refusals()),
		labelled("simp_logins_total", "Logins, by result.", "result", logins()),
		labelled("simp_messages_sent_total", "What became of messages sent through this node, for each recipient, by SIMP's status.", "status", emitOutcomes),
		labelled("simp_messages_received_total", "What became of messages for sessions on this node.", "result", receipts()),
		counter("simp_line_errors_total", "Lines from which no tag could be read.", count(func(m *server.Metrics) *server.Counter { return &m.Errors })),
	}
}

func raftMeasures() []measure {
	stat := func(name, help string, read func(s cluster.Stats) float64) measure {
		return gauge(name, help, func(n *node) float64 { return read(n.cluster.Stats()) })
	}
	return []measure{
		stat("simp_raft_leader", "Whether this node leads.", func(s cluster.Stats) float64 { return truth(s.Leads) }),
		stat("simp_raft_term", "Raft's term.", func(s cluster.Stats) float64 { return float64(s.Term) }),
		stat("simp_raft_voters", "Nodes that vote.", func(s cluster.Stats) float64 { return float64(s.Voters) }),
		stat("simp_raft_replicas", "Nodes that follow without a vote.", func(s cluster.Stats) float64 { return float64(s.Replicas) }),
		stat("simp_raft_last_index", "The newest entry of this node's log.", func(s cluster.Stats) float64 { return float64(s.LastLog) }),
		stat("simp_raft_commit_index", "The newest entry of the log that is known to be committed.", func(s cluster.Stats) float64 { return float64(s.CommitLog) }),
		stat("simp_raft_applied_index", "The newest entry of the log that the table holds.", func(s cluster.Stats) float64 { return float64(s.AppliedLog) }),
		stat("simp_proposals_waiting", "Changes that wait for the leader.", func(s cluster.Stats) float64 { return float64(s.Waiting) }),
	}
}

// counted is one of the connections' counters, and the label that it has.
type counted struct {
	label string
	of    func(*server.Metrics) *server.Counter
}

func refusals() func(*node, func(string, float64)) {
	return emitCounts(
		counted{"limit", func(m *server.Metrics) *server.Counter { return &m.Turned }},
		counted{"handshake", func(m *server.Metrics) *server.Counter { return &m.Handshakes }},
		counted{"foreign_protocol", func(m *server.Metrics) *server.Counter { return &m.Foreign }},
		counted{"too_slow", func(m *server.Metrics) *server.Counter { return &m.Overtime }},
		counted{"not_reading", func(m *server.Metrics) *server.Counter { return &m.Stuck }},
	)
}

func logins() func(*node, func(string, float64)) {
	return emitCounts(
		counted{"ok", func(m *server.Metrics) *server.Counter { return &m.Logins }},
		counted{"failed", func(m *server.Metrics) *server.Counter { return &m.LoginsFailed }},
	)
}

func receipts() func(*node, func(string, float64)) {
	return emitCounts(
		counted{"delivered", func(m *server.Metrics) *server.Counter { return &m.Delivered }},
		counted{"refused", func(m *server.Metrics) *server.Counter { return &m.Refused }},
		counted{"not_reading", func(m *server.Metrics) *server.Counter { return &m.NotReading }},
		counted{"not_listening", func(m *server.Metrics) *server.Counter { return &m.NotListening }},
		counted{"repeated", func(m *server.Metrics) *server.Counter { return &m.Repeated }},
		counted{"conflicting", func(m *server.Metrics) *server.Counter { return &m.Conflicting }},
	)
}

func emitCounts(all ...counted) func(*node, func(string, float64)) {
	return func(n *node, emit func(string, float64)) {
		for _, c := range all {
			emit(c.label, float64(c.of(&n.counts).Load()))
		}
	}
}

func emitOutcomes(n *node, emit func(string, float64)) {
	n.router.Outcomes(func(s protocol.Status, messages uint64) {
		emit(strconv.Itoa(int(s)), float64(messages))
	})
}
