package main

import (
	"slices"
	"sort"
)

// change is the state of a user from one index on.
type change struct {
	index       uint64
	state, note string
	sessions    string
	visible     bool // to watchers
}

// past is the table's history, as all consumers together were told it.
type past struct {
	byIndex map[uint64]told
	byUser  map[string][]change
}

// presence: all consumers were told one history, every watcher saw it, and
// every fresh look at it was fresh.
func (c *checker) presence() {
	c.past = c.history.past(c.report)
	for i, told := range c.Told {
		c.consumer(i, told)
	}
	for _, v := range c.Views {
		c.view(v)
	}
	c.fresh()
}

func (h *history) past(r *report) *past {
	p := &past{byIndex: map[uint64]told{}, byUser: map[string][]change{}}
	for _, stream := range h.Told {
		for _, t := range stream {
			if t.Kind != "change" {
				continue
			}
			if o, known := p.byIndex[t.Index]; known && (o.IMA != t.IMA || o.State != t.State || o.Note != t.Note || o.Sessions != t.Sessions) {
				r.fail("two histories", "%+v and %+v", o, t)
			}
			p.byIndex[t.Index] = t
		}
	}
	p.sort()
	return p
}

func (p *past) sort() {
	for _, t := range p.byIndex {
		p.byUser[t.IMA] = append(p.byUser[t.IMA], change{index: t.Index, state: t.State, note: t.Note, sessions: t.Sessions})
	}
	for _, all := range p.byUser {
		slices.SortFunc(all, func(a, b change) int { return int(a.index) - int(b.index) })
		before := change{state: "deaf"}
		for i := range all {
			all[i].visible = all[i].state != before.state || all[i].note != before.note
			before = all[i]
		}
	}
}

// at returns the state of a user at an index.
func (p *past) at(ima string, index uint64) change {
	all := p.byUser[ima]
	i := sort.Search(len(all), func(i int) bool { return all[i].index > index })
	if i == 0 {
		return change{state: "deaf"}
	}
	return all[i-1]
}

// consumer: it was told each change once, in order.
func (c *checker) consumer(number int, stream []told) {
	var last uint64
	var seen []uint64
	known := false // from last on it is told everything
	for _, t := range stream {
		switch t.Kind {
		case "reset":
			known = false
			c.resets++
			continue
		case "present":
			continue
		case "change":
			if t.Index <= last {
				c.fail("a consumer was told twice", "consumer %d: %+v after %d", number, t, last)
			}
			seen = append(seen, t.Index)
		}
		if known {
			c.gap(number, last, t, seen)
		}
		last, known, seen = max(last, t.Index), true, seen[:0]
	}
}

// gap: between two positions there was nothing.
func (c *checker) gap(number int, last uint64, t told, seen []uint64) {
	for i := last + 1; i <= t.Index; i++ {
		if missed, ok := c.past.byIndex[i]; ok && !slices.Contains(seen, i) {
			c.fail("a consumer missed a change", "consumer %d, before %+v: %+v", number, t, missed)
		}
	}
}

// view: a watcher saw each change once, as it was, and none too many.
func (c *checker) view(v *view) {
	last := map[string]uint64{}
	shown := map[string][]uint64{}
	for _, n := range v.Notices {
		if n.IMA == "" || n.State == "unknown" {
			continue // the node was cut off: it begins to know with what follows
		}
		c.notices++
		at := n.Index
		if n.Kind == "100" {
			at = v.From
		} else if n.Index <= last[n.IMA] {
			c.fail("a watcher saw a change twice", "node %d, connection %d: %+v after %d", v.Node, v.Conn, n, last[n.IMA])
		}
		if was := c.past.at(n.IMA, at); was.state != n.State || was.note != n.Note {
			c.fail("a watcher saw what was not so", "node %d, connection %d: %+v, and it was %+v", v.Node, v.Conn, n, was)
		}
		last[n.IMA] = max(last[n.IMA], at)
		shown[n.IMA] = append(shown[n.IMA], at)
	}
	for ima, seen := range shown {
		c.missed(v, ima, seen)
	}
}

// missed: of the changes between the first and the last that the watcher saw,
// none is missing.
func (c *checker) missed(v *view, ima string, seen []uint64) {
	for _, ch := range c.past.byUser[ima] {
		if ch.visible && ch.index > seen[0] && ch.index < seen[len(seen)-1] && !slices.Contains(seen, ch.index) {
			c.fail("changes missed", "node %d, connection %d, %s: %+v", v.Node, v.Conn, ima, ch)
		}
	}
}

// fresh: what a fresh QUERY says was so, and is no older than what anybody
// had been told before it was asked.
func (c *checker) fresh() {
	acked := c.acknowledged()
	for _, q := range c.Asked {
		if was := c.past.at(name(q.User, c.domain), q.Index); was.state != q.State || was.note != q.Note {
			c.fail("look-ups not linearizable", "%+v, and it was %+v", q, was)
		}
		if before := acked.before(q.Call); before > q.Index {
			c.fail("look-ups not linearizable", "%+v, and %d had been acknowledged", q, before)
		}
	}
}
