package cluster

import (
	"testing"
	"time"
)

func TestALeaderThatWakesConfirmsNothingForAWhile(t *testing.T) {
	p := newPauseDetector(250 * time.Millisecond)
	at := p.looked
	run := func(d time.Duration) { // in which nothing is amiss
		for end := at.Add(d); at.Before(end); p.observe(at) {
			at = at.Add(50 * time.Millisecond)
		}
	}
	run(time.Second)
	if !p.isAwake(at) {
		t.Error("a process that runs is not awake")
	}
	at = at.Add(200 * time.Millisecond)
	if !p.isAwake(at) {
		t.Error("a short pause does harm")
	}
	p.observe(at)
	at = at.Add(5 * time.Second)
	if p.isAwake(at) {
		t.Error("the process has just woken, before anything noticed, and is awake")
	}
	p.observe(at)
	run(450 * time.Millisecond)
	if p.isAwake(at) {
		t.Error("the process is awake at once")
	}
	run(100 * time.Millisecond)
	if !p.isAwake(at) {
		t.Error("the process never wakes")
	}
}
