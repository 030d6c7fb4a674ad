package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// The bounds of a verdict.
const (
	refusedBound = 0.01 // of the honest requests of a kind, at most
	slowerBound  = 3    // times the p99 from before, at most
	leastHonest  = 100  // requests of each kind, or the run shows nothing

	// Anonymous memory has to be back at what it was and a quarter, what the history of
	// changes has grown by, and the garbage that a node lets lie when its heap is
	// small.
	memoryPart    = 1.25
	memoryGarbage = 32 << 10 // KiB
)

// judge returns all that was wrong, as one error; nil if nothing was.
func (r *report) judge() error {
	wrong := append(r.served(), r.connected())
	for _, d := range r.died {
		wrong = append(wrong, fmt.Errorf("a node died: %s", d))
	}
	for _, i := range r.swollen() {
		wrong = append(wrong, fmt.Errorf("node %d holds %d MiB of anonymous memory afterwards, and before %d MiB; its history has grown by %d MiB",
			i+1, r.after.anonymous[i]>>10, r.before.anonymous[i]>>10, r.historyGrowth(i)>>10))
	}
	for _, a := range r.attacks {
		wrong = append(wrong, a.judge(r.counts[a.name], r.during.lasted))
	}
	return errors.Join(wrong...)
}

// served judges what honest users met.
func (r *report) served() (wrong []error) {
	for _, kind := range slices.Sorted(maps.Keys(r.before.served)) {
		before, during := r.before.served[kind], r.during.served[kind]
		if kind == connections {
			continue
		}
		if during == nil || before.total() < leastHonest || during.total() < leastHonest {
			wrong = append(wrong, fmt.Errorf("void: too few honest %s", kind))
			continue
		}
		if share := during.share(); share > refusedBound {
			wrong = append(wrong, fmt.Errorf("%.2f %% of the honest %s were refused", 100*share, kind))
		}
		if was, is := before.quantile(0.99), during.quantile(0.99); is > slowerBound*was {
			wrong = append(wrong, fmt.Errorf("the p99 of the honest %s was %s, %.1f times what it was", kind, short(is), float64(is)/float64(max(1, was))))
		}
	}
	if len(r.before.served) == 0 {
		wrong = append(wrong, errors.New("void: no honest requests"))
	}
	return wrong
}

// connected fails if too many honest connections were ended, however soon
// their users came again.
func (r *report) connected() error {
	ended, logins := r.during.served[connections], r.during.served["LOGIN"]
	if ended == nil {
		return nil
	}
	all := r.users // who were there
	if logins != nil {
		all += logins.total()
	}
	if share := float64(ended.refusals()) / float64(max(1, all)); share > refusedBound {
		return fmt.Errorf("%.2f %% of the honest connections were ended", 100*share)
	}
	return nil
}

// swollen returns the nodes, from 0, that hold more than before.
func (r *report) swollen() (all []int) {
	for i := range r.before.anonymous {
		if float64(r.after.anonymous[i]) > memoryPart*float64(r.before.anonymous[i])+memoryGarbage+float64(r.historyGrowth(i)) {
			all = append(all, i)
		}
	}
	return all
}

// historyGrowth returns by how much the history of node i has grown, in KiB.
func (r *report) historyGrowth(i int) int {
	if i >= len(r.after.history) || i >= len(r.before.history) {
		return 0
	}
	return max(0, r.after.history[i]-r.before.history[i])
}

// judge says whether the attack was one, and reached what it must not.
func (a *attack) judge(c counts, lasted time.Duration) error {
	var wrong []error
	if c.Err != "" {
		wrong = append(wrong, fmt.Errorf("void: %s could not attack: %s", a.name, c.Err))
	}
	if float64(c.Tries) < a.least*lasted.Seconds() {
		wrong = append(wrong, fmt.Errorf("void: %s made %d tries in %v: too few", a.name, c.Tries, lasted.Round(time.Second)))
	}
	for _, outcome := range a.never {
		if n := c.Told[outcome]; n > 0 {
			wrong = append(wrong, fmt.Errorf("%s was told %s %d times", a.name, outcome, n))
		}
	}
	for _, outcome := range slices.Sorted(maps.Keys(a.atMost)) {
		if n := c.Told[outcome]; float64(n) > a.atMost[outcome]*max(1, lasted.Minutes()) {
			wrong = append(wrong, fmt.Errorf("%s was told %s %d times: more than %v a minute", a.name, outcome, n, a.atMost[outcome]))
		}
	}
	return errors.Join(wrong...)
}
