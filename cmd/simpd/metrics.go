package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"simpd/cmd/internal/cli"
	"simpd/protocol/histogram"
	"simpd/protocol/server"
)

// newMetrics makes the registry of a node: numbers that its parts keep
// anyway, read when somebody asks.
func newMetrics(n *node) *prometheus.Registry {
	r := prometheus.NewRegistry()
	v := cli.ReadVersions()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{n, nodeMetrics()},
	)
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "simp_build_info", Help: "Always 1; the labels describe the running version.",
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
	labels     []string // that tell its values apart
	read       func(n *node, emit emitter)
	durations  func(n *node) *histogram.Durations // of a histogram, which has no read
	// durationsBy emits the histograms of a metric with labels, which has no read.
	durationsBy func(n *node, emit func(d *histogram.Durations, labels ...string))
	early       bool // it can be read before the node has started
}

// emitter takes a value with those of its metric's labels, in their order.
type emitter func(value float64, labels ...string)

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
	started := c.node.starting.Err() == nil
	for i := range c.measures {
		m := &c.measures[i]
		if !started && !m.early {
			continue
		}
		if m.durations != nil {
			count, sum, upTo := m.durations(c.node).Snapshot()
			to <- prometheus.MustNewConstHistogram(m.desc(), count, sum, upTo)
			continue
		}
		if m.durationsBy != nil {
			m.durationsBy(c.node, func(d *histogram.Durations, labels ...string) {
				count, sum, upTo := d.Snapshot()
				to <- prometheus.MustNewConstHistogram(m.desc(), count, sum, upTo, labels...)
			})
			continue
		}
		m.read(c.node, func(value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(m.desc(), m.kind, value, labels...)
		})
	}
}

func (m *measure) desc() *prometheus.Desc { return prometheus.NewDesc(m.name, m.help, m.labels, nil) }

func gaugeMeasure(name, help string, read func(n *node) float64) measure {
	return measure{name: name, help: help, kind: prometheus.GaugeValue, read: func(n *node, emit emitter) { emit(read(n)) }}
}

func counterMeasure(name, help string, read func(n *node) float64) measure {
	m := gaugeMeasure(name, help, read)
	m.kind = prometheus.CounterValue
	return m
}

// durationsMeasure returns the measure of a histogram.
func durationsMeasure(name, help string, of func(n *node) *histogram.Durations) measure {
	return measure{name: name, help: help, durations: of}
}

// kindName returns Prometheus's word for the kind of m.
func (m *measure) kindName() string {
	switch {
	case m.durations != nil || m.durationsBy != nil:
		return "histogram"
	case m.kind == prometheus.CounterValue:
		return "counter"
	}
	return "gauge"
}

func labelledMeasure(name, help, label string, read func(*node, emitter)) measure {
	return measure{name: name, help: help, kind: prometheus.CounterValue, labels: []string{label}, read: read}
}

func readCounter(of func(*server.Metrics) *server.Counter) func(*node) float64 {
	return func(n *node) float64 { return float64(of(&n.counts).Load()) }
}

// boolValue is 1 or 0.
func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
