package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newMetrics makes the registry of a node: numbers that its parts keep
// anyway, read when somebody asks.
func newMetrics(n *node) *prometheus.Registry {
	r := prometheus.NewRegistry()
	v := readVersions()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{n, measures()},
	)
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "simp_build_info", Help: "Always 1; says what runs.",
		ConstLabels: prometheus.Labels{"version": v.Version, "commit": v.Commit, "go": v.Go, "node": n.conf.nodeID},
	})
	info.Set(1)
	r.MustRegister(info)
	return r
}

// measure is one metric: its name, what it says, and how it is read.
type measure struct {
	name, help string
	kind       prometheus.ValueType
	label      string // of several values; else empty
	read       func(n *node, emit func(label string, value float64))
}

// collector reads measures.
type collector struct {
	node     *node
	measures []measure
}

// Describe sends what there is.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for i := range c.measures {
		to <- c.measures[i].desc()
	}
}

// Collect sends the values of this moment.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	for i := range c.measures {
		m := &c.measures[i]
		m.read(c.node, func(label string, value float64) {
			var labels []string
			if m.label != "" {
				labels = []string{label}
			}
			to <- prometheus.MustNewConstMetric(m.desc(), m.kind, value, labels...)
		})
	}
}

func (m *measure) desc() *prometheus.Desc {
	var labels []string
	if m.label != "" {
		labels = []string{m.label}
	}
	return prometheus.NewDesc(m.name, m.help, labels, nil)
}

func gauge(name, help string, read func(n *node) float64) measure {
	return measure{name: name, help: help, kind: prometheus.GaugeValue, read: func(n *node, emit func(string, float64)) { emit("", read(n)) }}
}

func counter(name, help string, read func(n *node) float64) measure {
	m := gauge(name, help, read)
	m.kind = prometheus.CounterValue
	return m
}

// truth is 1 or 0.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// measures lists every metric of the node itself, in the order of the docs.
func measures() []measure {
	return []measure{
		gauge("simp_ready", "Whether clients should be sent to this node.", func(n *node) float64 { return truth(n.Ready() == nil) }),
		gauge("simp_connections", "Authenticated connections of clients.", func(n *node) float64 { return float64(n.router.Connections()) }),
		gauge("simp_sessions", "Listening sessions on this node.", func(n *node) float64 { return float64(n.router.Listening()) }),
		gauge("simp_listeners", "Users of the site who listen.", func(n *node) float64 { _, l := n.table.View().Len(); return float64(l) }),
		gauge("simp_accounts", "Accounts of the site.", func(n *node) float64 { a, _ := n.table.View().Len(); return float64(a) }),
		gauge("simp_table_index", "The index that this node's table has reached.", func(n *node) float64 { return float64(n.table.Index()) }),
		gauge("simp_epoch", "This node's epoch; 0 while it has none.", func(n *node) float64 { return float64(n.cluster.Epoch()) }),
		gauge("simp_out_of_touch_seconds", "For how long the majority has not been heard of.", func(n *node) float64 { return n.cluster.Contact().Seconds() }),
		gauge("simp_raft_leader", "Whether this node leads.", func(n *node) float64 { return truth(n.cluster.Stats().Leads) }),
		gauge("simp_raft_term", "Raft's term.", func(n *node) float64 { return float64(n.cluster.Stats().Term) }),
		gauge("simp_raft_voters", "Nodes that vote.", func(n *node) float64 { return float64(n.cluster.Stats().Voters) }),
		gauge("simp_raft_replicas", "Nodes that follow without a vote.", func(n *node) float64 { return float64(n.cluster.Stats().Replicas) }),
		gauge("simp_raft_commit_index", "The newest entry of the log that is known to be committed.", func(n *node) float64 { return float64(n.cluster.Stats().CommitLog) }),
		gauge("simp_raft_applied_index", "The newest entry of the log that the table holds.", func(n *node) float64 { return float64(n.cluster.Stats().AppliedLog) }),
		gauge("simp_proposals_waiting", "Changes that wait for the leader.", func(n *node) float64 { return float64(n.cluster.Stats().Waiting) }),
	}
}
