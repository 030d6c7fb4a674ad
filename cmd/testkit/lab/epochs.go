package main

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// epochs are the epochs of all nodes by id, of those that tell theirs.
func (l *lab) epochs() map[string]uint64 {
	all := map[string]uint64{}
	for _, n := range l.site.Nodes {
		if ok, said := measures(n); ok {
			all[n.ID] = uint64(metric(said, "simp_epoch"))
		}
	}
	return all
}

// compare looks for nodes that were taken for dead: by a fault that strikes
// none it is to be none.
func (l *lab) compare(before map[string]uint64, faults []fault) {
	var struck []int
	kinds := map[string]bool{}
	for _, f := range faults {
		struck = append(struck, f.Nodes...)
		kinds[f.Kind] = true
	}
	for id, epoch := range l.epochs() {
		if before[id] == epoch || before[id] == 0 {
			continue
		}
		if len(struck) == 0 && !l.stoodStill(faults[0].Begun) {
			l.buried = append(l.buried, fmt.Sprintf("%s, by %v", id, slices.Sorted(maps.Keys(kinds))))
		}
		if kinds["starved"] && len(kinds) == 1 {
			l.notes["a node was taken for dead as one was starved"]++
		}
	}
}

// stoodStill reports whether the machine did so since a moment.
func (l *lab) stoodStill(since time.Duration) (still bool) {
	l.history.locked(func() {
		still = slices.ContainsFunc(l.history.Stalls, func(s fault) bool { return s.End > since })
	})
	return still
}
