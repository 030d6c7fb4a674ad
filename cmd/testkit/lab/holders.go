package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// modelTime bounds the search for an order that explains what was seen.
const modelTime = time.Minute

// step is one operation on who holds a user's session, which surely happened
// between two moments. The state is the token of the session.
type step struct {
	kind       stepKind
	token      string // deaf: none
	call, back time.Duration
}

type stepKind uint8

const (
	listen  stepKind = iota // the token's session holds it from now on
	query                   // it returned the token
	refused                 // of a message: nobody listened whose node could be reached
)

// leave is a change that the site may make by itself between two moments, as often as it
// likes.
type leave struct {
	kind     leaveKind
	token    string
	from, to time.Duration
}

type leaveKind uint8

const (
	mayBind   leaveKind = iota // whoever holds it, the token's session may
	mayEnd                     // the token's session may end
	mayReturn                  // where nobody holds it, the token's session may
)

// leaves are all that may happen to one user's session, and when each token's
// session has surely ended.
type leaves struct {
	all  []leave
	over map[string]time.Duration
}

// holding names who holds a session, and the earliest moment at which that may
// have become so.
type holding struct {
	token string
	since time.Duration
}

// holderModel says who may hold the session after each step.
func (l *leaves) holderModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []interface{} { return []interface{}{holding{}} },
		Step: func(state, input, _ interface{}) []interface{} {
			h, s := state.(holding), input.(step)
			var next []interface{}
			for _, token := range l.after(h, s) {
				next = append(next, holding{token, max(h.since, s.call)})
			}
			return next
		},
	}
	return m.ToModel()
}

// after returns who may hold the session after a step.
func (l *leaves) after(h holding, s step) []string {
	if s.kind == listen {
		return []string{s.token}
	}
	var next []string
	for _, token := range l.meanwhile(h, s) {
		if token == s.token || s.kind == refused && l.ending(token, h, s) {
			next = append(next, token)
		}
	}
	return next
}

// meanwhile returns who may hold the session when a step is made.
func (l *leaves) meanwhile(h holding, s step) []string {
	may := []string{h.token}
	add := func(token string) {
		if !slices.Contains(may, token) {
			may = append(may, token)
		}
	}
	for before := 0; before < len(may); {
		before = len(may)
		for _, x := range l.all {
			switch {
			case !x.between(h, s):
			case x.kind == mayBind:
				add(x.token)
			case x.kind == mayEnd && slices.Contains(may, x.token):
				add("")
			case x.kind == mayReturn && slices.Contains(may, ""):
				add(x.token)
			}
		}
	}
	return slices.DeleteFunc(may, func(token string) bool { return l.past(token, max(h.since, s.call)) })
}

// past reports whether a token's session has surely ended by a moment.
func (l *leaves) past(token string, at time.Duration) bool {
	over, ends := l.over[token]
	return ends && over < at
}

// ending reports whether a session may be as good as ended when a step is made:
// its node is not asked any more, or has it no more.
func (l *leaves) ending(token string, h holding, s step) bool {
	return slices.ContainsFunc(l.all, func(x leave) bool { return x.kind == mayEnd && x.token == token && x.between(h, s) })
}

// between reports whether x may happen after what is held and before a step.
func (x leave) between(h holding, s step) bool { return x.from <= s.back && x.to >= h.since }

// holders: for each user who has one exclusive session at a time, there is an
// order of what happened that explains every fresh QUERY and every message
// that was refused as nobody listened.
func (c *checker) holders() {
	looks := c.looks()
	for user, sessions := range c.byUser {
		if !onlyAlone(sessions) {
			continue
		}
		l, steps := c.life(sessions)
		steps = append(steps, looks[user]...)
		c.held += len(steps)
		switch porcupine.CheckOperationsTimeout(l.holderModel(), operations(steps), modelTime) {
		case porcupine.Illegal:
			c.fail("look-ups not linearizable", "no order explains the %d steps of %s", len(steps), user)
		case porcupine.Unknown:
			c.fail("the model took too long", "for the %d steps of %s", len(steps), user)
		}
	}
}

// looks records what was seen of each user's session.
func (c *checker) looks() map[string][]step {
	seen, all := map[string][]step{}, map[string][]step{}
	for _, q := range c.Asked {
		seen[q.User] = append(seen[q.User], step{query, q.Note, q.Call, q.Back})
	}
	for _, m := range c.Sent {
		if m.Status == 480 {
			seen[m.To] = append(seen[m.To], step{refused, "", m.At, m.Back})
		}
	}
	for user, steps := range seen {
		all[user] = tightest(steps)
	}
	return all
}

// tightest leaves out what follows from the rest: of two looks that saw the
// same, one within the time of the other, the longer.
func tightest(steps []step) []step {
	slices.SortFunc(steps, func(a, b step) int { return cmp.Or(cmp.Compare(b.call, a.call), cmp.Compare(a.back, b.back)) })
	type sight struct {
		kind  stepKind
		token string
	}
	soonest := map[sight]time.Duration{} // back of those that were called later
	var left []step
	for _, s := range steps {
		x := sight{s.kind, s.token}
		if back, seen := soonest[x]; seen && back <= s.back {
			continue
		}
		soonest[x] = s.back
		left = append(left, s)
	}
	return left
}

func operations(steps []step) []porcupine.Operation {
	var all []porcupine.Operation
	for _, s := range steps {
		all = append(all, porcupine.Operation{Input: s, Call: int64(s.call), Return: int64(s.back)})
	}
	return all
}

func onlyAlone(all []*session) bool {
	for _, s := range all {
		if !s.Exclusive || len(s.States) > 0 {
			return false
		}
	}
	return len(all) > 0
}

// calm is the time by which the site has done what it does by itself about
// something: soon, but for faults that may have taken its majority away.
func (c *checker) calm(at time.Duration) time.Duration {
	t := at + settled
	for i, f := range c.Faults { // in the order of their beginnings
		if f.Begun > t || f.End != 0 && f.End < at || !c.heavy(i) {
			continue
		}
		if f.End == 0 {
			return forever
		}
		t = max(t, f.End+settled)
	}
	return t + 4*c.stoodStill(at, t) // the site does nothing then, and less than usual before and after
}

// heavy reports whether more than one node may have been struck at once.
func (c *checker) heavy(i int) bool {
	f := c.Faults[i]
	return len(f.Nodes) > 1 || slices.ContainsFunc(c.Faults, func(o fault) bool {
		return o.within(f.Begun, f.End) && !slices.Equal(o.Nodes, f.Nodes)
	})
}

// after is the time by which a node that was struck has found its place again.
func (c *checker) after(f fault) time.Duration {
	if f.End == 0 {
		return forever
	}
	return c.calm(f.End)
}

// awake is the time by which a node has done what it was asked while a fault
// was on it: a paused one reads that when it wakes, whoever has gone meanwhile,
// and one whose clients were cut off may find the end of one as late as a
// vanished client's.
func (c *checker) awake(node int, from, to time.Duration) time.Duration {
	var last time.Duration
	for _, f := range c.Faults {
		if slices.Contains(f.Nodes, node) && f.within(from, to) {
			last = max(last, c.after(f))
			if f.Kind == clientsApart && f.End != 0 {
				last = max(last, c.calm(f.End+vanished))
			}
		}
	}
	return last
}

const forever = time.Duration(math.MaxInt64)

// life records what has become, and may have become, of a user's sessions.
func (c *checker) life(sessions []*session) (*leaves, []step) {
	l := &leaves{over: map[string]time.Duration{}}
	var steps []step
	for _, s := range sessions {
		if s.Bound != 0 {
			steps = append(steps, step{listen, s.Token, s.Call, s.Bound})
		}
		c.mayBecome(l, s)
	}
	return l, steps
}

// mayBecome notes what may have become of one session.
func (c *checker) mayBecome(l *leaves, s *session) {
	last := forever // until when the session may be bound
	switch left := earliest(s.Leave, s.Gone); {
	case s.Bound == 0:
		last = max(c.calm(s.Failed), c.awake(s.Node, s.Call, s.Failed))
		l.all = append(l.all, leave{mayBind, s.Token, s.Call, last}, leave{mayEnd, s.Token, s.Call, last})
	case s.Left != 0:
		last = s.Left
		l.all = append(l.all, leave{mayEnd, s.Token, s.Leave, last})
	case left != 0:
		last = max(c.calm(left), c.awake(s.Node, left, max(left, s.Gone)))
		l.all = append(l.all, leave{mayEnd, s.Token, left, last})
	}
	if last != forever {
		l.over[s.Token] = last
	}
	for _, f := range c.Faults {
		if until := min(last, c.after(f)); f.Begun < last && until > s.Call && slices.Contains(f.Nodes, s.Node) {
			from := max(f.Begun, s.Call)
			l.all = append(l.all, leave{mayEnd, s.Token, from, until}, leave{mayReturn, s.Token, from, until})
		}
	}
}

func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
