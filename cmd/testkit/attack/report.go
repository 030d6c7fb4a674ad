package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// report holds the results of a run.
type report struct {
	attacks               []attack
	users                 int
	before, during, after phase
	counts                map[string]counts
	died                  []string
	settled               time.Duration // until memory was as before, or the wait for that was over
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%-12s %s\n", "", "requests  refused      p50      p99     most")
	for _, p := range []phase{r.before, r.during, r.after} {
		fmt.Fprintf(w, "%s (%.0f s): %s\n", p.name, p.lasted.Seconds(), p.costs())
		for _, kind := range slices.Sorted(maps.Keys(p.served)) {
			fmt.Fprintf(w, "  %-10s %v\n", kind, p.served[kind])
		}
	}
	fmt.Fprintf(w, "the wait for memory took %.0f s\n\n", r.settled.Seconds())
	for _, a := range r.attacks {
		c := r.counts[a.name]
		fmt.Fprintf(w, "%-18s %9d tries (%.0f/s); told: %s\n", a.name, c.Tries, float64(c.Tries)/r.during.lasted.Seconds(), list(c.Told))
	}
}

func (s *served) String() string {
	text := fmt.Sprintf("%8d %7.2f %% %8s %8s %8s", s.total(), 100*s.share(), short(s.quantile(0.5)), short(s.quantile(0.99)), short(s.quantile(1)))
	if len(s.refused) > 0 {
		text += "  " + list(s.refused)
	}
	return text
}

// share is the part that was refused.
func (s *served) share() float64 { return float64(s.refusals()) / float64(max(1, s.total())) }

func short(d time.Duration) string {
	return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
}

func (p *phase) costs() string {
	text := "resident, in MiB: mean " + megas(p.mean) + " (anonymous " + megas(p.anonymous) + "), most " + megas(p.peak)
	if len(p.busy) == nodes+2 {
		text += fmt.Sprintf("; processors: nodes %.2f, honest %.2f, attackers %.2f", p.busy[:nodes], p.busy[nodes], p.busy[nodes+1])
	}
	return text
}

func megas(kib []int) string {
	var all []string
	for _, n := range kib {
		all = append(all, fmt.Sprint(n>>10))
	}
	return strings.Join(all, " ")
}

// list is counts in words, the most first.
func list[N int | int64](m map[string]N) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(a, b)
	})
	var all []string
	for _, k := range keys {
		all = append(all, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(all, ", ")
}
