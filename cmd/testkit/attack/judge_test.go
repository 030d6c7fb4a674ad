package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// goodReport is of a run in which nobody was harmed.
func goodReport() *report {
	quiet := func(p99 time.Duration) map[string]*served {
		return map[string]*served{"PING": {times: slices.Repeat([]time.Duration{p99}, 1000), refused: map[string]int{}}}
	}
	memory := []int{100 << 10, 100 << 10, 100 << 10}
	return &report{
		attacks: []attack{{name: "pings", least: 10, never: []string{"200"}, atMost: map[string]float64{"401": 30}}},
		before:  phase{served: quiet(time.Millisecond), anonymous: memory, lasted: time.Minute},
		during:  phase{served: quiet(time.Millisecond), lasted: time.Minute},
		after:   phase{anonymous: slices.Clone(memory)},
		counts:  map[string]counts{"pings": {Tries: 600, Told: map[string]int64{}}},
	}
}

// Each bound is tried on both of its sides.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *report)
		wrong  string // "": nothing
	}{
		{"nothing", func(*report) {}, ""},
		{"a death", func(r *report) { r.died = []string{"n1 has ended"} }, "a node died: n1"},
		{"10 of 1,000 refused", func(r *report) { refuse(r, 990, 10) }, ""},
		{"11 of 1,000 refused", func(r *report) { refuse(r, 989, 11) }, "1.10 % of the honest PING"},
		{"three times as slow", func(r *report) { slow(r, 3*time.Millisecond) }, ""},
		{"slower than that", func(r *report) { slow(r, 3*time.Millisecond+time.Microsecond) }, "3.0 times"},
		{"one in a hundred slower", func(r *report) { slow(r, time.Millisecond); r.during.served["PING"].times[999] = time.Second }, ""},
		{"memory at its bound", func(r *report) { r.after.anonymous[1] = 157 << 10 }, ""},
		{"memory of the history", func(r *report) {
			r.before.history, r.after.history, r.after.anonymous[1] = []int{1 << 10, 1 << 10, 1 << 10}, []int{0, 21 << 10, 0}, 177<<10
		}, ""},
		{"more than that", func(r *report) {
			r.before.history, r.after.history, r.after.anonymous[1] = []int{1 << 10, 1 << 10, 1 << 10}, []int{0, 21 << 10, 0}, 178<<10
		}, "its history has grown by 20 MiB"},
		{"memory above", func(r *report) { r.after.anonymous[1] = 157<<10 + 1 }, "node 2 holds 157 MiB of anonymous memory afterwards"},
		{"enough tries", func(r *report) { r.counts["pings"] = counts{Tries: 600} }, ""},
		{"too few", func(r *report) { r.counts["pings"] = counts{Tries: 599} }, "void: pings made 599 tries"},
		{"no attackers", func(r *report) { r.counts = nil }, "void: pings made 0 tries"},
		{"no attack", func(r *report) { r.counts["pings"] = counts{Tries: 600, Err: "no way in"} }, "void: pings could not attack"},
		{"what must never be told", func(r *report) { tell(r, "200", 1) }, "pings was told 200 1 times"},
		{"what may be told, at its bound", func(r *report) { tell(r, "401", 30) }, ""},
		{"and above it", func(r *report) { tell(r, "401", 31) }, "pings was told 401 31 times"},
		{"100 honest requests", func(r *report) { refuse(r, 100, 0) }, ""},
		{"too few", func(r *report) { refuse(r, 99, 0) }, "void: too few honest PING"},
		{"too few before", func(r *report) { r.before.served["PING"].times = r.before.served["PING"].times[:99] }, "void: too few honest PING"},
		{"none", func(r *report) { r.during.served = nil }, "void: too few honest PING"},
		{"10 of 1,000 connections ended", func(r *report) { r.users = 1000; endSome(r, 10) }, ""},
		{"11 of 1,000", func(r *report) { r.users = 1000; endSome(r, 11) }, "1.10 % of the honest connections"},
		{"none ever", func(r *report) { r.before.served, r.during.served = nil, nil }, "void: no honest requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := goodReport()
			c.change(r)
			err := r.judge()
			if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%v; want %q", err, c.wrong)
			}
		})
	}
}

func refuse(r *report, served, refused int) {
	s := r.during.served["PING"]
	s.times, s.refused["429"] = s.times[:served], refused
}

func endSome(r *report, n int) {
	r.during.served[connections] = &served{refused: map[string]int{"ended: BYE 503": n}}
}

func slow(r *report, p99 time.Duration) {
	r.during.served["PING"].times = slices.Repeat([]time.Duration{p99}, 1000)
}

func tell(r *report, outcome string, n int64) {
	r.counts["pings"] = counts{Tries: 600, Told: map[string]int64{outcome: n}}
}

// What was served is told apart by outcome, and once.
func TestCounter(t *testing.T) {
	var c counter
	for i := range 200 {
		c.count("SEND", "200", time.Duration(200-i)*time.Millisecond)
	}
	c.count("SEND", "429", time.Second)
	got := c.cut()["SEND"]
	if got.total() != 201 || got.refusals() != 1 || got.quantile(0.99) != 199*time.Millisecond || got.quantile(1) != 200*time.Millisecond {
		t.Errorf("%v", got)
	}
	if again := c.cut(); again != nil {
		t.Errorf("cut twice: %v", again)
	}
}

// A process may have any name.
func TestCPUTime(t *testing.T) {
	for stat, want := range map[string]time.Duration{
		"7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0": 2 * time.Second,
		"7 (a)": 0,
		"":      0,
	} {
		if got := cpuTime([]byte(stat)); got != want {
			t.Errorf("%q: %v; want %v", stat, got, want)
		}
	}
}

// However many outcomes an attack is told, they stay countable.
func TestTally(t *testing.T) {
	var tl tally
	for i := range 1000 {
		tl.tell(fmt.Sprint(i))
	}
	c := tl.counts()
	if len(c.Told) != maxOutcomes+1 || c.Told["others"] != 1000-maxOutcomes {
		t.Errorf("%d outcomes, others %d", len(c.Told), c.Told["others"])
	}
}
