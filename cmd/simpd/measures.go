package main

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"simpd/cluster/api"
	"simpd/cluster/router"
	"simpd/protocol"
	"simpd/protocol/histogram"
	"simpd/protocol/server"
)

// nodeMetrics lists every metric of the node itself, in the order of the docs.
func nodeMetrics() []measure {
	return slices.Concat(siteMeasures(), certificateMeasures(), clientMeasures(), programMeasures(), raftMeasures())
}

// programMeasures are of the services for programs.
func programMeasures() []measure {
	of := func(read func(*api.Server) float64) func(*node) float64 {
		return func(n *node) float64 {
			programs := n.programs.Load()
			if programs == nil {
				return 0
			}
			return read(programs)
		}
	}
	return []measure{
		counterMeasure("simp_reading_paused_total", "Times that a client's connection was not read for a while, as it sent too much or too many errors.", func(n *node) float64 { return float64(n.counts.Throttled.Load()) }),
		gaugeMeasure("simp_program_connections", "Connections of programs, those that have not said who they are included.", of(func(s *api.Server) float64 { return float64(s.Connections()) })),
		gaugeMeasure("simp_program_octets", "Octets held for programs: connections, requests and answers under way.", of(func(s *api.Server) float64 { return float64(s.Held()) })),
		counterMeasure("simp_program_calls_refused_total", "Calls that were refused: for who made them, or for what their caller held already.", of(func(s *api.Server) float64 { return float64(s.Refused()) })),
	}
}

func siteMeasures() []measure {
	return []measure{
		{name: "simp_ready", help: "Whether clients should be sent to this node.", kind: prometheus.GaugeValue, early: true,
			read: func(n *node, emit emitter) { emit(boolValue(n.Ready() == nil)) }},
		gaugeMeasure("simp_draining", "Whether this node sends its clients elsewhere.", func(n *node) float64 { return boolValue(n.leave.away.Load()) }),
		gaugeMeasure("simp_table_index", "The index that this node's table has reached.", func(n *node) float64 { return float64(n.table.Index()) }),
		gaugeMeasure("simp_digest_log", "The entry of the log after which this node's table was hashed last.", func(n *node) float64 { return float64(n.cluster.Stats().DigestLog) }),
		gaugeMeasure("simp_digest", "The first 48 bits of that hash: the same on all nodes with the same simp_digest_log.", func(n *node) float64 { return float64(n.cluster.Stats().Digest) }),
		counterMeasure("simp_tables_healed_total", "How often this node's table was wrong, and another's was taken over.", func(n *node) float64 { return float64(n.cluster.Stats().Healed) }),
		gaugeMeasure("simp_schema", "The schema of the log that the site has agreed on.", func(n *node) float64 { return float64(n.table.Schema()) }),
		gaugeMeasure("simp_listeners", "Users of the site who listen.", func(n *node) float64 { _, l := n.table.View().Len(); return float64(l) }),
		gaugeMeasure("simp_accounts", "Accounts of the site.", func(n *node) float64 { a, _ := n.table.View().Len(); return float64(a) }),
		{name: "simp_nodes", help: "Nodes in the table, by state.", kind: prometheus.GaugeValue, labels: []string{"state"}, read: emitNodes},
		gaugeMeasure("simp_epoch", "This node's epoch; 0 while it has none.", func(n *node) float64 { return float64(n.cluster.Epoch()) }),
		counterMeasure("simp_epochs_total", "Epochs that this process has begun: one at its start, and one each time that it came up anew.", func(n *node) float64 { return float64(n.cluster.Metrics().Epochs.Load()) }),
		counterMeasure("simp_taken_for_dead_total", "How often the site has declared this node dead while its process ran.", func(n *node) float64 { return float64(n.cluster.Metrics().TakenForDead.Load()) }),
		gaugeMeasure("simp_out_of_touch_seconds", "For how long the majority has not been heard of.", func(n *node) float64 { return n.cluster.QuorumLostFor().Seconds() }),
		gaugeMeasure("simp_gossip_members", "Nodes that gossip holds for alive, this one among them.", func(n *node) float64 { return float64(len(n.cluster.Members())) }),
		gaugeMeasure("simp_peers_connected", "Other nodes to which a stream for messages is open.", func(n *node) float64 { connected, _ := n.cluster.Peers(); return float64(connected) }),
		gaugeMeasure("simp_peers_up", "Other nodes that the table takes for up.", func(n *node) float64 { _, up := n.cluster.Peers(); return float64(up) }),
	}
}

// certificateMeasures are of what ends.
func certificateMeasures() []measure {
	return []measure{
		{name: "simp_certificate_not_after_timestamp_seconds", kind: prometheus.GaugeValue, labels: []string{"kind", "name", "serial"}, read: emitCertificates,
			help: "When a certificate ends, in seconds since 1970. Its kind is node (this node's own), cluster_ca, site (shown to clients), site_ca (in its chain), federation_ca or program (a program's that is or lately was connected)."},
		{name: "simp_token_not_after_timestamp_seconds", kind: prometheus.GaugeValue, labels: []string{"name", "hash"}, read: emitTokens,
			help: "When a program's token ends, in seconds since 1970; of tokens that have an end."},
		gaugeMeasure("simp_domains_without_certificate", "Domains of the site that none of this node's certificates for clients names; 0 if it has none at all.", func(n *node) float64 {
			uncovered, _ := n.compareDomains(n.conf.domains)
			return float64(len(uncovered))
		}),
		{name: "simp_setting_differs", kind: prometheus.GaugeValue, labels: []string{"setting"}, read: emitDifferences,
			help: "Other nodes whose value of a setting is not this node's, of those settings that must be the same on all."},
	}
}

func emitDifferences(n *node, emit emitter) {
	for setting, nodes := range n.cluster.DifferingNodes() {
		emit(float64(len(nodes)), setting)
	}
}

func emitCertificates(n *node, emit emitter) {
	for _, e := range n.allExpiries() {
		if e.kind != expiryToken {
			emit(float64(e.end.Unix()), e.kind, e.name, e.id)
		}
	}
}

func emitTokens(n *node, emit emitter) {
	for _, e := range n.allExpiries() {
		if e.kind == expiryToken {
			emit(float64(e.end.Unix()), e.name, e.id)
		}
	}
}

// emitNodes counts the nodes that the table knows.
func emitNodes(n *node, emit emitter) {
	up, draining, down := 0, 0, 0
	for _, known := range n.table.Nodes() {
		switch {
		case known.Down:
			down++
		case known.Draining:
			draining++
		default:
			up++
		}
	}
	emit(float64(up), "up")
	emit(float64(draining), "draining")
	emit(float64(down), "down")
}

func clientMeasures() []measure {
	return []measure{
		gaugeMeasure("simp_connections", "Authenticated connections of clients.", func(n *node) float64 { return float64(n.router.Connections()) }),
		gaugeMeasure("simp_sessions", "Listening sessions on this node.", func(n *node) float64 { return float64(n.router.Listening()) }),
		gaugeMeasure("simp_watches", "Pairs of a connection and a user whom it watches.", func(n *node) float64 { return float64(n.router.Watches()) }),
		gaugeMeasure("simp_queue_octets", "Octets held for clients: what is not answered, and what waits to be written.", heldOctets),
		counterMeasure("simp_connections_accepted_total", "Connections that clients opened.", readCounter(func(m *server.Metrics) *server.Counter { return &m.Accepted })),
		labelledMeasure("simp_connections_refused_total", "Connections that were turned away or ended by the server, by reason.", "reason", refusalCounts()),
		labelledMeasure("simp_logins_total", "Logins, by result.", "result", loginCounts()),
		durationsMeasure("simp_login_duration_seconds", "From AUTH to its final answer, the client's part included.", func(n *node) *histogram.Durations { return &n.counts.LoginTime }),
		labelledMeasure("simp_listens_total", "LISTEN, by result.", "result", resultCounts(func(m *router.Metrics) *router.Results { return &m.Listens })),
		durationsMeasure("simp_listen_duration_seconds", "From LISTEN to its answer.", func(n *node) *histogram.Durations { return &n.router.Metrics().Listen }),
		labelledMeasure("simp_messages_sent_total", "What became of messages sent through this node, for each recipient, by SIMP's status.", "status", emitOutcomes),
		durationsMeasure("simp_send_duration_seconds", "From SEND to the outcome for a recipient, the recipient's part included.", func(n *node) *histogram.Durations { return &n.router.Metrics().Send }),
		labelledMeasure("simp_lookups_total", "Look-ups that the majority had to confirm, by result.", "result", resultCounts(func(m *router.Metrics) *router.Results { return &m.Lookups })),
		durationsMeasure("simp_lookup_duration_seconds", "Of look-ups that the majority had to confirm.", func(n *node) *histogram.Durations { return &n.router.Metrics().Lookup }),
		counterMeasure("simp_table_looks_total", "Looks at the table for the way of a message.", func(n *node) float64 { return float64(n.router.Lookups()) }),
		labelledMeasure("simp_messages_received_total", "What became of messages for sessions on this node.", "result", receiptCounts()),
		counterMeasure("simp_line_errors_total", "Lines from which no tag could be read.", readCounter(func(m *server.Metrics) *server.Counter { return &m.Errors })),
	}
}

// heldOctets is 0 until clients are served.
func heldOctets(n *node) float64 {
	clients := n.clients.Load()
	if clients == nil {
		return 0
	}
	return float64(clients.Held())
}

// resultCounts emits how requests ended.
func resultCounts(of func(*router.Metrics) *router.Results) func(*node, emitter) {
	return func(n *node, emit emitter) {
		r := of(n.router.Metrics())
		emit(float64(r.Good.Load()), "ok")
		emit(float64(r.Refused.Load()), "refused")
		emit(float64(r.Unavailable.Load()), "unavailable")
	}
}

// counted is one of the connections' counters, and the label that it has.
type counted struct {
	label string
	of    func(*server.Metrics) *server.Counter
}

func refusalCounts() func(*node, emitter) {
	return emitCounts(
		counted{"limit", func(m *server.Metrics) *server.Counter { return &m.Rejected }},
		counted{"handshake", func(m *server.Metrics) *server.Counter { return &m.FailedHandshakes }},
		counted{"foreign_protocol", func(m *server.Metrics) *server.Counter { return &m.WrongProtocol }},
		counted{"too_slow", func(m *server.Metrics) *server.Counter { return &m.TimedOut }},
		counted{"not_reading", func(m *server.Metrics) *server.Counter { return &m.SlowConsumers }},
		counted{"memory", func(m *server.Metrics) *server.Counter { return &m.Shed }},
		counted{"empty_tls_records", func(m *server.Metrics) *server.Counter { return &m.EmptyRecords }},
	)
}

func loginCounts() func(*node, emitter) {
	return emitCounts(
		counted{"ok", func(m *server.Metrics) *server.Counter { return &m.Logins }},
		counted{"failed", func(m *server.Metrics) *server.Counter { return &m.LoginsFailed }},
		counted{"slowed", func(m *server.Metrics) *server.Counter { return &m.LoginsSlowed }},
	)
}

func receiptCounts() func(*node, emitter) {
	return emitCounts(
		counted{"delivered", func(m *server.Metrics) *server.Counter { return &m.Delivered }},
		counted{"refused", func(m *server.Metrics) *server.Counter { return &m.Refused }},
		counted{"not_reading", func(m *server.Metrics) *server.Counter { return &m.NotReading }},
		counted{"not_listening", func(m *server.Metrics) *server.Counter { return &m.NotListening }},
		counted{"repeated", func(m *server.Metrics) *server.Counter { return &m.Repeated }},
		counted{"conflicting", func(m *server.Metrics) *server.Counter { return &m.Conflicting }},
	)
}

func emitCounts(all ...counted) func(*node, emitter) {
	return func(n *node, emit emitter) {
		for _, c := range all {
			emit(float64(c.of(&n.counts).Load()), c.label)
		}
	}
}

func emitOutcomes(n *node, emit emitter) {
	n.router.Outcomes(func(s protocol.Status, messages uint64) {
		emit(float64(messages), strconv.Itoa(int(s)))
	})
}
