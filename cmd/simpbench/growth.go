//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
)

// growth is a cost that is meant to stay the same however big the site is.
type growth struct {
	row, metric string // how the metrics begin that differ in size only
	times       float64
}

func growths() []growth {
	return []growth{
		{row: "ramp", metric: "CPU a login", times: 1.3},
		{row: "ramp", metric: "CPU a message", times: 1.3},
		{row: "presence", metric: "CPU a notification", times: 1.3},
		{row: "table", metric: "a look-up", times: 2},
	}
}

// printGrowth writes a line for each cost that was measured at several sizes.
func (r *results) printGrowth(out io.Writer) {
	for _, g := range growths() {
		for _, subject := range r.subjects() {
			least, most, sizes := r.extremes(g, subject)
			if sizes > 1 && least > 0 {
				times := most / least
				fmt.Fprintf(out, "%s: %s, %s: the medians of %d sizes within %.2f times of each other; goal ≤ %v: %s\n",
					g.row, g.metric, subject, sizes, times, g.times, met(times <= g.times))
			}
		}
	}
}

// subjects returns the names that occur, in order, but for the relay's.
func (r *results) subjects() (names []string) {
	seen := map[string]bool{relayName: true}
	for _, s := range r.Series {
		if !seen[s.Subject] {
			seen[s.Subject] = true
			names = append(names, s.Subject)
		}
	}
	return names
}

// extremes returns the least and the greatest median of a cost.
func (r *results) extremes(g growth, subject string) (least, most float64, sizes int) {
	for _, s := range r.Series {
		if s.Row != g.row || s.Subject != subject || !strings.HasPrefix(s.Metric, g.metric) {
			continue
		}
		m := median(s.Values)
		if sizes++; sizes == 1 {
			least, most = m, m
		}
		least, most = min(least, m), max(most, m)
	}
	return least, most, sizes
}
