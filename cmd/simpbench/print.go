//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
)

// print writes the table for people: a line for each value of a site, with the
// relay's beside it.
func (r *results) print(out io.Writer) error {
	m := r.Machine
	fmt.Fprintf(out, "%s, %d processors, %d MiB, Linux %s, %s; %s\n", m.Processor, m.Processors, m.MemoryMiB, m.Kernel, m.Go, r.Simpd)
	fmt.Fprintf(out, "servers on processor %s, clients on %s; %d rounds of %s; medians, and ranges\n\n",
		r.ServerCPUs, r.LoadCPUs, r.Runs, r.Duration)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "row\twhat\tunit\trelay\tof\tmeasured\tratio\tgoal")
	for _, s := range r.Series {
		if s.Subject != relayName || !r.isCompared(s) {
			fmt.Fprintln(w, r.line(s))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	r.printGrowth(out)
	return nil
}

// isCompared reports whether a series of the relay stands beside another.
func (r *results) isCompared(s *series) bool {
	return slices.ContainsFunc(r.Series, func(o *series) bool {
		return o.Subject != relayName && o.Row == s.Row && o.Metric == s.Metric
	})
}

func (r *results) line(s *series) string {
	relay := r.relayFor(s)
	beside, ratio := "", ""
	var times []float64
	if relay != nil && relay != s {
		times = ratios(s.Values, relay.Values)
		beside, ratio = spread3(relay.Values), spread3(times)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s",
		s.Row, s.Metric, s.Unit, beside, s.Subject, spread3(s.Values), ratio, verdict(s, times))
}

// verdict says what the goal is, and whether it is met.
func verdict(s *series, times []float64) string {
	g := goalOf(s.key)
	switch {
	case g == nil:
		return ""
	case g.times > 0 && len(times) == 0:
		return fmt.Sprintf("≤ %v × relay", g.times)
	case g.times > 0:
		return fmt.Sprintf("≤ %v × relay: %s", g.times, met(median(times) <= g.times))
	}
	return fmt.Sprintf("≤ %v %s: %s", g.most, s.Unit, met(median(s.Values) <= g.most))
}

func met(yes bool) string {
	if yes {
		return "met"
	}
	return "not met"
}

// spread3 writes a median and, of several values, their range, with three
// digits that count.
func spread3(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	if len(values) == 1 {
		return digits3(values[0])
	}
	return fmt.Sprintf("%s (%s–%s)", digits3(median(values)), digits3(slices.Min(values)), digits3(slices.Max(values)))
}

func digits3(v float64) string {
	if v == 0 {
		return "0"
	}
	before := int(math.Floor(math.Log10(math.Abs(v)))) + 1
	return strconv.FormatFloat(v, 'f', min(max(0, 3-before), 4), 64)
}
