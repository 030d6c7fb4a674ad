//go:build linux

package main

import "strings"

// goal is a limit that a value should stay below: so many times the relay's of
// the same run, or so much by itself.
type goal struct {
	row, metric string // the metric, or how it begins
	subject     string
	times       float64 // the relay's; or
	most        float64 // in the metric's unit
}

// goals returns the limits that simpd is built for. A row without one is for information.
func goals() []goal {
	one, three := simpdName, siteName(3)
	return []goal{
		{row: "pairs", metric: "CPU a message", subject: one, times: 1.2},
		{row: "across", metric: "CPU a message", subject: three, times: 2},
		{row: "oneway", metric: "CPU a message", subject: one, times: 0.7},
		{row: "ramp", metric: "CPU a login", subject: one, times: 2},
		{row: "ramp", metric: "CPU a login", subject: three, times: 5},
		{row: "presence", metric: "CPU a notification", subject: one, times: 0.9},
		{row: "ramp", metric: "memory a session, at", subject: one, most: 4},
		{row: "ramp", metric: "memory a session, at", subject: three, most: 4},
		{row: "ramp", metric: "memory a session on", subject: three, most: 300},
		{row: "tls", metric: "memory that TLS adds", subject: one, most: 10},
		{row: "paced", metric: "p50", subject: one, times: 1},
		{row: "paced", metric: "p99", subject: one, times: 1},
		{row: "storm", metric: "until all listen again", subject: three, most: 10_000},
		{row: "table", metric: "NodeDown of a third", subject: "table", most: 20},
		{row: "table", metric: "its reap, the longest entry", subject: "table", most: 20},
	}
}

// goalOf returns the goal for a series, or nil.
func goalOf(k key) *goal {
	for _, g := range goals() {
		if g.row == k.Row && g.subject == k.Subject && strings.HasPrefix(k.Metric, g.metric) {
			return &g
		}
	}
	return nil
}
