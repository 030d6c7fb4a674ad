package main

import (
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// modelTime bounds the search for an order that explains what was seen.
const modelTime = 20 * time.Second

// step is one operation on who holds a user's session: what was asked for, or
// what the site may do by itself. The state is the token of the session.
type step struct {
	kind  stepKind
	token string // deaf: none
}

type stepKind uint8

const (
	listen     stepKind = iota // and it was answered
	mayListen                  // and there was no answer, or a refusal
	query                      // it returned the token
	end                        // of the token's session
	mayEnd                     // its node is struck by a fault
	mayRebound                 // its node has come back
)

// holderModel says who may hold the session after each step.
func holderModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []interface{} { return []interface{}{""} },
		Step: func(state, input, _ interface{}) []interface{} {
			held, s := state.(string), input.(step)
			var next []interface{}
			for _, h := range s.after(held) {
				next = append(next, h)
			}
			return next
		},
	}
	return m.ToModel()
}

func (s step) after(held string) []string {
	mine := held == s.token
	switch {
	case s.kind == listen:
		return []string{s.token}
	case s.kind == mayListen && !mine:
		return []string{held, s.token}
	case s.kind == query && !mine:
		return nil
	case s.kind == end && mine:
		return []string{""}
	case s.kind == mayEnd && mine:
		return []string{held, ""}
	case s.kind == mayRebound && held == "":
		return []string{"", s.token}
	}
	return []string{held}
}

// holders: for each user who has one exclusive session at a time, there is an
// order of what happened that explains every fresh QUERY.
func (c *checker) holders() {
	byUser := map[string][]porcupine.Operation{}
	for _, s := range c.Sessions {
		byUser[s.User] = append(byUser[s.User], c.steps(s)...)
	}
	for _, q := range c.Asked {
		byUser[q.User] = append(byUser[q.User], operation(step{query, q.Note}, q.Call, q.Back))
	}
	model := holderModel()
	for user, steps := range byUser {
		if !onlyAlone(c.byUser[user]) {
			continue
		}
		c.held += len(steps)
		switch porcupine.CheckOperationsTimeout(model, steps, modelTime) {
		case porcupine.Illegal:
			c.fail("look-ups not linearizable", "no order explains the %d steps of %s", len(steps), user)
		case porcupine.Unknown:
			c.fail("the model took too long", "for the %d steps of %s", len(steps), user)
		}
	}
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
	return t
}

// heavy tells whether more than one node may have been struck at once.
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

const forever = time.Duration(math.MaxInt64)

// steps are what may have become of one session.
func (c *checker) steps(s *session) []porcupine.Operation {
	if s.Bound == 0 {
		return []porcupine.Operation{
			operation(step{mayListen, s.Token}, s.Call, c.calm(s.Failed)), operation(step{end, s.Token}, s.Call, c.calm(s.Failed)),
		}
	}
	all := []porcupine.Operation{operation(step{listen, s.Token}, s.Call, s.Bound)}
	last := forever // until when the session may be bound
	switch {
	case s.Left != 0:
		last = s.Left
		all = append(all, operation(step{end, s.Token}, s.Leave, s.Left))
	case s.Leave != 0 || s.Gone != 0:
		last = c.calm(earliest(s.Leave, s.Gone))
		all = append(all, operation(step{end, s.Token}, earliest(s.Leave, s.Gone), last))
	}
	for _, f := range c.Faults {
		if f.Begun < last && c.after(f) > s.Call && slices.Contains(f.Nodes, s.Node) {
			from, until := max(f.Begun, s.Call), max(s.Call, min(last, c.after(f)))
			all = append(all, operation(step{mayEnd, s.Token}, from, until), operation(step{mayRebound, s.Token}, from, until))
		}
	}
	return all
}

func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func operation(s step, call, back time.Duration) porcupine.Operation {
	return porcupine.Operation{Input: s, Call: int64(call), Return: int64(back)}
}
