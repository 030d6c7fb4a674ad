package main

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"simpd/cluster/api"
	"simpd/cluster/policy"
	"simpd/cluster/ratelimit"
	"simpd/cluster/router"
	"simpd/protocol"
	"simpd/protocol/histogram"
	"simpd/protocol/server"
)

// nodeMetrics lists every metric of the node itself, in the order of the docs.
func nodeMetrics() []measure {
	return slices.Concat(siteMeasures(), certificateMeasures(), feedMeasures(), clientMeasures(), limitMeasures(), policyMeasures(), sourceMeasures(), programMeasures(), raftMeasures())
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
		counterMeasure("simp_reading_paused_total", "How often the node stopped reading a client's connection for a while, because the client sent too much or too many errors.", func(n *node) float64 { return float64(n.counts.Throttled.Load()) }),
		gaugeMeasure("simp_program_connections", "Connections of programs, including those that have not authenticated yet.", of(func(s *api.Server) float64 { return float64(s.Connections()) })),
		gaugeMeasure("simp_program_octets", "Octets held for programs: connections, requests and answers in progress.", of(func(s *api.Server) float64 { return float64(s.Held()) })),
		counterMeasure("simp_program_calls_refused_total", "Calls that were refused because of the caller's rights, or because of what the caller held already.", of(func(s *api.Server) float64 { return float64(s.Refused()) })),
	}
}

func siteMeasures() []measure {
	return []measure{
		{name: "simp_ready", help: "1 if clients should be sent to this node, otherwise 0.", kind: prometheus.GaugeValue, early: true,
			read: func(n *node, emit emitter) { emit(boolValue(n.Ready() == nil)) }},
		gaugeMeasure("simp_draining", "1 while this node sends its clients to other nodes, otherwise 0.", func(n *node) float64 { return boolValue(n.leave.away.Load()) }),
		gaugeMeasure("simp_table_index", "The index of the newest change in this node's table.", func(n *node) float64 { return float64(n.table.Index()) }),
		gaugeMeasure("simp_digest_log", "The log entry after which this node last hashed its table.", func(n *node) float64 { return float64(n.cluster.Stats().DigestLog) }),
		gaugeMeasure("simp_digest", "The first 48 bits of that hash. Nodes with the same simp_digest_log must have the same value.", func(n *node) float64 { return float64(n.cluster.Stats().Digest) }),
		counterMeasure("simp_tables_healed_total", "How often this node's table was wrong and was replaced by another node's.", func(n *node) float64 { return float64(n.cluster.Stats().Healed) }),
		gaugeMeasure("simp_schema", "The schema of the log on which the site has agreed.", func(n *node) float64 { return float64(n.table.Schema()) }),
		gaugeMeasure("simp_listeners", "Users of the site who listen.", func(n *node) float64 { _, l := n.table.View().Len(); return float64(l) }),
		gaugeMeasure("simp_accounts", "Accounts of the site.", func(n *node) float64 { a, _ := n.table.View().Len(); return float64(a) }),
		{name: "simp_nodes", help: "Nodes in the table, by state.", kind: prometheus.GaugeValue, labels: []string{"state"}, read: emitNodes},
		gaugeMeasure("simp_epoch", "This node's epoch; 0 while it has none.", func(n *node) float64 { return float64(n.cluster.Epoch()) }),
		counterMeasure("simp_epochs_total", "Epochs that this process has begun: one at its start, and one each time that it registered again.", func(n *node) float64 { return float64(n.cluster.Metrics().Epochs.Load()) }),
		counterMeasure("simp_taken_for_dead_total", "How often the site has declared this node dead while its process ran.", func(n *node) float64 { return float64(n.cluster.Metrics().TakenForDead.Load()) }),
		gaugeMeasure("simp_out_of_touch_seconds", "Seconds since this node lost contact with the majority; 0 while it has contact.", func(n *node) float64 { return n.cluster.QuorumLostFor().Seconds() }),
		gaugeMeasure("simp_gossip_members", "Nodes that gossip considers alive, including this one.", func(n *node) float64 { return float64(len(n.cluster.Members())) }),
		gaugeMeasure("simp_peers_connected", "Other nodes to which this node has an open message stream.", func(n *node) float64 { connected, _ := n.cluster.Peers(); return float64(connected) }),
		gaugeMeasure("simp_peers_up", "Other nodes that are up according to the table.", func(n *node) float64 { _, up := n.cluster.Peers(); return float64(up) }),
	}
}

// certificateMeasures are of what ends.
func certificateMeasures() []measure {
	return []measure{
		{name: "simp_certificate_not_after_timestamp_seconds", kind: prometheus.GaugeValue, labels: []string{"kind", "name", "serial"}, read: emitCertificates,
			help: "When a certificate expires, in seconds since 1970. The kind is node (this node's own), cluster_ca, site (for clients), site_ca (in the chain of one for clients), acme (for clients, obtained by ACME), federation_ca or program (of a program that is or lately was connected)."},
		{name: "simp_token_not_after_timestamp_seconds", kind: prometheus.GaugeValue, labels: []string{"name", "hash"}, read: emitTokens,
			help: "When a program's token expires, in seconds since 1970. Tokens without an end are left out."},
		gaugeMeasure("simp_domains_without_certificate", "Domains of the site that none of this node's certificates for clients names; 0 if the node has no such certificate.", func(n *node) float64 {
			uncovered, _ := n.compareDomains(n.conf.domains)
			return float64(len(uncovered))
		}),
		{name: "simp_acme_certificates_total", kind: prometheus.CounterValue, labels: []string{"result"}, read: emitACME,
			help: "Attempts of this node to obtain a certificate by ACME, by result: obtained or failed. Only the leader tries. Nothing without acme-domain."},
		{name: "simp_setting_differs", kind: prometheus.GaugeValue, labels: []string{"setting"}, read: emitDifferences,
			help: "Other nodes whose value of a setting differs from this node's, for the settings that must be the same on all nodes."},
	}
}

// feedMeasures are of the lists of blocks that the leader fetches.
func feedMeasures() []measure {
	return []measure{
		{name: "simp_block_feed_last_success_timestamp_seconds", kind: prometheus.GaugeValue, labels: []string{"feed"}, read: emitFeedSuccess,
			help: "When this node last fetched a feed of blocks and used it, in seconds since 1970. Only the leader fetches; the other nodes have nothing here."},
		{name: "simp_block_feed_entries", kind: prometheus.GaugeValue, labels: []string{"feed"}, read: emitFeedEntries,
			help: "Entries of a feed of blocks when this node last used it. Only the leader has this."},
		{name: "simp_block_feed_fetches_total", kind: prometheus.CounterValue, labels: []string{"feed", "result"}, read: emitFeedFetches,
			help: "Attempts of this node to fetch a feed of blocks and use it, by result: fetched (also if it had not changed) or failed."},
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
		gaugeMeasure("simp_watches", "Watches: pairs of a connection and a user whom it watches.", func(n *node) float64 { return float64(n.router.Watches()) }),
		gaugeMeasure("simp_queue_octets", "Octets held for clients: requests that are not answered yet, and output that is not written yet.", heldOctets),
		counterMeasure("simp_connections_accepted_total", "Connections that clients opened.", readCounter(func(m *server.Metrics) *server.Counter { return &m.Accepted })),
		labelledMeasure("simp_connections_refused_total", "Client connections that the node refused or closed, by reason.", "reason", refusalCounts()),
		labelledMeasure("simp_logins_total", "Logins, by result.", "result", loginCounts()),
		durationsMeasure("simp_login_duration_seconds", "Time from AUTH to its final answer, including the client's part.", func(n *node) *histogram.Durations { return &n.counts.LoginTime }),
		labelledMeasure("simp_listens_total", "LISTEN requests, by result.", "result", resultCounts(func(m *router.Metrics) *router.Results { return &m.Listens })),
		durationsMeasure("simp_listen_duration_seconds", "Time from LISTEN to its answer.", func(n *node) *histogram.Durations { return &n.router.Metrics().Listen }),
		labelledMeasure("simp_messages_sent_total", "Outcomes of messages sent through this node, one for each recipient, by SIMP status.", "status", emitOutcomes),
		durationsMeasure("simp_send_duration_seconds", "Time from SEND to the outcome for a recipient, including the recipient's part.", func(n *node) *histogram.Durations { return &n.router.Metrics().Send }),
		labelledMeasure("simp_lookups_total", "Look-ups that a majority had to confirm, by result.", "result", resultCounts(func(m *router.Metrics) *router.Results { return &m.Lookups })),
		durationsMeasure("simp_lookup_duration_seconds", "Duration of look-ups that a majority had to confirm.", func(n *node) *histogram.Durations { return &n.router.Metrics().Lookup }),
		counterMeasure("simp_table_looks_total", "Look-ups in this node's table to route a message.", func(n *node) float64 { return float64(n.router.Lookups()) }),
		labelledMeasure("simp_messages_received_total", "Outcomes of messages for sessions on this node, by result.", "result", receiptCounts()),
		counterMeasure("simp_line_errors_total", "Lines from which no tag could be read.", readCounter(func(m *server.Metrics) *server.Counter { return &m.Errors })),
	}
}

// limitMeasures are of the limits of the whole site.
func limitMeasures() []measure {
	return []measure{
		{name: "simp_requests_limited_total", kind: prometheus.CounterValue, labels: []string{"limit", "by"}, read: emitLimited,
			help: "Requests and messages answered 429 because of a limit of the site: what it counts, and by whom (a user, a stranger, which is a user of another site, a source, a domain of another site or a program)."},
		gaugeMeasure("simp_limited_keys", "Users, sources, domains and programs of which this node remembers how much of a limit of the site they have used.", func(n *node) float64 { return float64(n.router.Limits().Keys()) }),
		{name: "simp_limit_reports_total", kind: prometheus.CounterValue, labels: []string{"direction"}, read: emitLimitReports,
			help: "Counts of keys that nodes have told each other because they use a good part of a limit of the site: sent by this node, to all others at a time, and received from others."},
	}
}

// policyMeasures are of the operator's program that decides about messages.
func policyMeasures() []measure {
	return []measure{
		{name: "simp_policy_verdicts_total", kind: prometheus.CounterValue, labels: []string{"verdict"}, read: emitPolicyVerdicts,
			help: "Messages that the policy program was or would have been asked about, by verdict: pass (also without an answer, if policy_fail is open), not_listening, slow_down, refused, unavailable (without an answer, if policy_fail is closed)."},
		{name: "simp_policy_questions_total", kind: prometheus.CounterValue, labels: []string{"result"}, read: emitPolicyQuestions,
			help: "What became of questions to the policy program: failed (no valid answer in time), skipped (not asked, because it fails), busy (not asked, because too many questions were open for a second) or remembered (an earlier answer held)."},
		gaugeMeasure("simp_policy_failing", "1 while the policy program is not asked because it fails, otherwise 0.", func(n *node) float64 {
			return boolValue(n.policy != nil && n.policy.Failing() != "")
		}),
		durationsMeasure("simp_policy_duration_seconds", "Duration of questions to the policy program.", func(n *node) *histogram.Durations {
			return &n.policyMetrics().Duration
		}),
	}
}

func emitPolicyVerdicts(n *node, emit emitter) {
	m := n.policyMetrics()
	for v, name := range map[policy.Verdict]string{
		policy.Pass: "pass", policy.NotListening: "not_listening", policy.SlowDown: "slow_down", policy.Refused: "refused", policy.Unavailable: "unavailable",
	} {
		emit(float64(m.Verdicts[v].Load()), name)
	}
}

func emitPolicyQuestions(n *node, emit emitter) {
	m := n.policyMetrics()
	emit(float64(m.Failed.Load()), "failed")
	emit(float64(m.Skipped.Load()), "skipped")
	emit(float64(m.Busy.Load()), "busy")
	emit(float64(m.Cached.Load()), "remembered")
}

// policyMetrics returns the counters of the policy program; zeros if there is
// none.
func (n *node) policyMetrics() *policy.Metrics {
	if n.policy == nil {
		return new(policy.Metrics)
	}
	return n.policy.Metrics()
}

func emitLimited(n *node, emit emitter) {
	for k := range ratelimit.Kinds {
		emit(float64(n.router.Limits().Refused(k)), k.What(), k.By())
	}
}

func emitLimitReports(n *node, emit emitter) {
	sent, received := n.router.Limits().Reported()
	emit(float64(sent), "sent")
	emit(float64(received), "received")
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
		counted{"unavailable", func(m *server.Metrics) *server.Counter { return &m.LoginsUnavailable }},
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
