package main

import (
	"simpd/cmd/testkit/wire"
	"slices"
	"strings"
	"time"
)

const (
	// awaking limits the time after a fault until its node finds out that it was cut
	// off for so long that its clients have to go, or a client that the node is
	// another process.
	awaking = 2 * time.Second
	// cutOffAfter is the time for which a node keeps its clients without the majority.
	cutOffAfter = 10 * time.Second
	// vanished is the time within which a node has to find that a client cannot
	// be reached.
	vanished = 45 * time.Second
)

// endings: no connection ends of which the client has not been told why, but
// where a fault has struck the node.
func (c *checker) endings() {
	for _, e := range c.Endings {
		if !e.Own && !c.struck(e.Node, e.At-awaking, e.At) && !c.sentAway(e) && !c.apart(e) {
			c.fail("a connection cut", "%+v", e)
		}
	}
}

// sentAway: the node has had no majority for long enough, and said so; or the
// machine stood still for so much of that time that no majority could hold.
func (c *checker) sentAway(e ending) bool {
	if !strings.HasPrefix(e.Bye, "503 ") {
		return false
	}
	from, others := e.At-cutOffAfter-awaking, 0
	for node := 1; node <= c.nodes(); node++ {
		if c.struck(node, from, e.At) {
			others++
		}
	}
	return others > c.nodes()/2 || c.stoodStill(from, e.At) > (e.At-from)/4
}

// stoodStill is for how long the machine did so between two moments.
func (c *checker) stoodStill(from, to time.Duration) (sum time.Duration) {
	for _, s := range c.Stalls {
		sum += max(0, min(s.End, to)-max(s.Begun, from))
	}
	return sum
}

// apart: the node's clients were cut off from it not long ago.
func (c *checker) apart(e ending) bool {
	return slices.ContainsFunc(c.Faults, func(f fault) bool {
		return f.Kind == clientsApart && slices.Contains(f.Nodes, e.Node) && f.within(e.At-vanished, e.At)
	})
}

// nodes returns the number of nodes of the site.
func (c *checker) nodes() int {
	most := 0
	for _, m := range c.Sent {
		most = max(most, m.Node)
	}
	return most
}

// answers: a node that runs answers every request within 10 s.
func (c *checker) answers() {
	for _, s := range c.Slow {
		if late := s.Back - s.Call - wire.AnswerTime - c.slack; late > 0 && !c.still(s.Node, s.Call, s.Back) {
			c.fail("overdue", "by %v: %+v", late, s)
		}
	}
}
