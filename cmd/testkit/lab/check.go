package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// check holds all that was recorded against what the site promises.
func (l *lab) check(failed error) *report {
	r := newReport(l.seed, l.dir)
	r.notes = l.notes
	if failed != nil {
		r.fail("the run failed", "%v", failed)
	}
	for _, s := range l.strange {
		r.fail("a node ended by itself", "%s", s)
	}
	for _, s := range l.buried {
		r.fail("a live node was taken for dead", "%s", s)
	}
	h := l.history
	h.mu.Lock()
	defer h.mu.Unlock()
	r.count(h)
	c := newChecker(h, r, l.site.Domain)
	if l.shared {
		c.slack = 3 * time.Second
	}
	c.all()
	r.vacuity(l.plan)
	return r
}

// all makes all checks.
func (c *checker) all() {
	c.outcomes()
	c.endings()
	c.answers()
	c.receipts()
	c.order()
	c.confirmed()
	c.presence()
	c.holders()
}

// checker has the history in the forms in which it is looked up.
type checker struct {
	*history
	*report
	domain     string
	slack      time.Duration        // by which an answer may be late on a machine that is shared
	receivedBy map[string][]receipt // by message
	attempts   map[string][]*sent
	ended      map[int]ending // by connection
	sessions   map[int]*session
	byUser     map[string][]*session
	past       *past
}

func newChecker(h *history, r *report, domain string) *checker {
	c := &checker{history: h, report: r, domain: domain, receivedBy: map[string][]receipt{}, attempts: map[string][]*sent{}, ended: map[int]ending{}, sessions: map[int]*session{}, byUser: map[string][]*session{}}
	for _, x := range h.Receipts {
		c.receivedBy[x.ID] = append(c.receivedBy[x.ID], x)
	}
	for _, m := range h.Sent {
		c.attempts[m.ID] = append(c.attempts[m.ID], m)
	}
	for _, e := range h.Endings {
		c.ended[e.Conn] = e
	}
	for _, s := range h.Sessions {
		c.sessions[s.Number] = s
		c.byUser[s.User] = append(c.byUser[s.User], s)
	}
	return c
}

// struck reports whether a fault was on a node at some time between two moments.
func (c *checker) struck(node int, from, to time.Duration) bool {
	return slices.ContainsFunc(c.Faults, func(f fault) bool { return slices.Contains(f.Nodes, node) && f.within(from, to) })
}

// still reports whether a node did perhaps not run, or not hear its clients, at
// some time between two moments.
func (c *checker) still(node int, from, to time.Duration) bool {
	return c.stalled(from, to) || slices.ContainsFunc(c.Faults, func(f fault) bool {
		return !f.Runs && slices.Contains(f.Nodes, node) && f.untilHeard().within(from, to)
	})
}

// untilHeard is the fault with the time until clients are heard again: TCP
// doubles the time between two tries while it gets no answer.
func (f fault) untilHeard() fault {
	if f.Kind == clientsApart && f.End != 0 {
		f.End += f.End - f.Begun
	}
	return f
}

func (c *checker) stalled(from, to time.Duration) bool {
	return slices.ContainsFunc(c.Stalls, func(f fault) bool { return f.within(from, to) })
}

// within reports whether a fault was on at some time between two moments.
func (f fault) within(from, to time.Duration) bool {
	return f.Begun <= to && (f.End == 0 || f.End >= from)
}

// outcomes: none is false, missing or late.
func (c *checker) outcomes() {
	for _, m := range c.Sent {
		switch {
		case m.Times > 1:
			c.fail("several outcomes", "%+v", *m)
		case m.Status == 200 && !c.accepted(m.ID):
			c.fail("falsely delivered", "%+v", *m)
		case m.Status >= 400 && len(c.attempts[m.ID]) == 1:
			c.notDelivered(m)
		}
		c.inTime(m)
	}
}

func (c *checker) accepted(id string) bool {
	return slices.ContainsFunc(c.receivedBy[id], func(r receipt) bool { return r.Said == 200 })
}

// notDelivered: who was refused has not been handed to anybody, but where a
// client refused it.
func (c *checker) notDelivered(m *sent) {
	for _, r := range c.receivedBy[m.ID] {
		if m.Status != 486 || r.Said != 486 {
			c.fail("falsely failed", "%+v was received: %+v by %+v", *m, r, c.sessions[r.Session])
		}
	}
}

// inTime: a node that no fault strikes answers within the timeout and a
// second; what is lost is lost with its connection, and endings judges that.
func (c *checker) inTime(m *sent) {
	late := m.Back - m.At - m.Timeout - time.Second - c.slack
	end, known := c.ended[m.Conn]
	switch {
	case m.Status == lost && (!known || end.At < m.At):
		c.fail("no outcome", "%+v, and its connection has not ended: %+v", *m, end)
	case m.Status == lost && end.Own && !c.still(m.Node, m.At, m.Back):
		c.fail("no outcome", "%+v until the client gave up", *m)
	case late > 0 && !c.still(m.Node, m.At, m.Back):
		c.fail("overdue", "by %v: %+v", late, *m)
	}
}

// receipts: nothing is shown twice to a session, comes to somebody else, or
// comes to a session that has ended.
func (c *checker) receipts() {
	type shown struct {
		id      string
		session int
	}
	seen := map[shown]bool{}
	for _, r := range c.Receipts {
		m, s := c.attempts[r.ID], c.sessions[r.Session]
		switch {
		case m == nil || s == nil:
			c.fail("a strange receipt", "%+v", r)
			continue
		case m[0].To != s.User:
			c.fail("received by another", "%+v by %+v", *m[0], *s)
		case r.Deaf:
			c.fail("received after the end", "%+v by %+v", r, *s)
		case r.Said == 200 && seen[shown{r.ID, r.Session}]:
			c.fail("shown twice", "%+v: %+v", r, *s)
		}
		if r.Said == 200 {
			seen[shown{r.ID, r.Session}] = true
		}
	}
}

// order: what one connection sends comes to a session in that order.
func (c *checker) order() {
	type pair struct{ conn, session int }
	last := map[pair]int{}
	for _, r := range c.Receipts {
		m := c.attempts[r.ID]
		if len(m) != 1 {
			continue // repeated: which of them came can't be known
		}
		p := pair{m[0].Conn, r.Session}
		if m[0].Number <= last[p] {
			c.fail("out of order", "%+v after number %d: %+v", r, last[p], *m[0])
		}
		last[p] = m[0].Number
	}
}

// confirmed: that nobody listens is never said of who certainly does.
func (c *checker) confirmed() {
	for _, m := range c.Sent {
		if m.Status != 480 && m.Status != 404 {
			continue
		}
		c.looked++
		for _, s := range c.byUser[m.To] {
			if c.listens(s, m.At, m.Back) {
				c.fail("look-ups not linearizable", "%+v, and there was %+v", *m, *s)
			}
		}
	}
}

// settled limits the time after a fault on its node until a session is bound again.
const settled = 12 * time.Second

// listens reports whether a session certainly listened all the time.
func (c *checker) listens(s *session, from, to time.Duration) bool {
	if s.Bound == 0 || s.Bound >= from {
		return false
	}
	for _, end := range []time.Duration{s.Leave, s.Displaced, s.Gone} {
		if end != 0 && end <= to {
			return false
		}
	}
	if c.struck(s.Node, s.Bound-settled, to) || c.stalled(s.Bound-settled, to) {
		return false
	}
	return !slices.ContainsFunc(c.byUser[s.User], func(o *session) bool {
		return o != s && o.Exclusive && o.Call <= to && (o.Index == 0 || o.Index > s.Index)
	})
}

// acknowledged are the indexes of changes that somebody was told of, by time.
type acknowledged []struct {
	at    time.Duration
	index uint64 // the highest up to then
}

func (c *checker) acknowledged() acknowledged {
	var all acknowledged
	add := func(at time.Duration, index uint64) {
		if at > 0 && index > 0 {
			all = append(all, struct {
				at    time.Duration
				index uint64
			}{at, index})
		}
	}
	for _, s := range c.Sessions {
		add(s.Bound, s.Index)
		add(s.Left, s.LeftIndex)
		for _, st := range s.States {
			add(st.Back, st.Index)
		}
	}
	for _, q := range c.Asked {
		add(q.Back, q.Index)
	}
	slices.SortFunc(all, func(a, b struct {
		at    time.Duration
		index uint64
	}) int {
		return cmp.Compare(a.at, b.at)
	})
	for i := 1; i < len(all); i++ {
		all[i].index = max(all[i].index, all[i-1].index)
	}
	return all
}

// before returns the highest index that was acknowledged before a moment.
func (a acknowledged) before(at time.Duration) uint64 {
	i, _ := slices.BinarySearchFunc(a, at, func(e struct {
		at    time.Duration
		index uint64
	}, at time.Duration) int {
		return cmp.Compare(e.at, at)
	})
	if i == 0 {
		return 0
	}
	return a[i-1].index
}

func name(user, domain string) string { return fmt.Sprintf("%s@%s", user, domain) }
