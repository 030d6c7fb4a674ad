package store

import (
	"slices"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// bind makes a session a listening one, or gives a bound one new values. What
// the user has left on nodes that are down ends with it.
func (t *Table) bind(c *storev1.Bind) Result {
	account, r := t.mayBind(c)
	if r.Refusal != None {
		return r
	}
	old, l := t.open(c.GetAddress())
	b := newBinding(c)
	i := find(l, b.Session)
	exclusive := c.GetExclusive() && c.GetRebind() == 0
	if i >= 0 && same(&l.Bindings[i], &b) && (!exclusive || account.Exclusive == l.Bindings[i].Bound) {
		return Result{Bound: l.Bindings[i].Bound}
	}
	if !exclusive && !t.hasRoom(l, i) {
		return refuse(TooManySessions, "%s listens in %d sessions already", c.GetAddress(), protocol.MaxSessions)
	}
	t.inherit(&b, l, i, c.GetRebind(), exclusive)
	var displaced []Binding
	if exclusive {
		t.setExclusive(account)
		displaced = t.leave(l, func(o *Binding) bool { return o.Session != b.Session })
	} else {
		t.leave(l, func(o *Binding) bool { return o.Session != b.Session && t.isDown(o.Session.Node) })
	}
	t.insert(l, b)
	r = t.commitBindings(old, l, b.Session.Node)
	r.Bound, r.Displaced = b.Bound, displaced
	return r
}

// mayBind looks at all that forbids a Bind but the number of sessions.
func (t *Table) mayBind(c *storev1.Bind) (*Account, Result) {
	if why := checkBind(c); why != "" {
		return nil, refuse(Malformed, "%s", why)
	}
	if r := t.checkEpoch(c.GetSession().GetNode(), c.GetEpoch()); r.Refusal != None {
		return nil, r
	}
	if t.now.restoring != 0 {
		return nil, refuse(Restoring, "the accounts are being restored")
	}
	if c.GetRebind() > t.now.index {
		return nil, refuse(Malformed, "the session was never bound at %d", c.GetRebind())
	}
	account, ok := t.now.accounts.get(c.GetAddress())
	switch {
	case !ok:
		return nil, refuse(NoAccount, "there is no account %s", c.GetAddress())
	case account.Disabled:
		return nil, refuse(Disabled, "%s is disabled", c.GetAddress())
	case account.Generation() > c.GetCredential():
		return nil, refuse(OldCredential, "%s", account.whyEnded())
	case c.GetRebind() > 0 && account.Exclusive > c.GetRebind():
		return nil, refuse(Displaced, "%s has listened exclusively since", c.GetAddress())
	}
	return account, Result{}
}

func checkBind(c *storev1.Bind) string {
	switch {
	case !validAddress(c.GetAddress()):
		return "no address"
	case c.GetSession().GetNode() == "":
		return "no session"
	case c.GetSession().GetEpoch() > c.GetEpoch():
		return "a session of a later epoch"
	case stateOf(c.GetState()) == protocol.Deaf:
		return "no state"
	case max(len(c.GetNote()), len(c.GetAgent()), len(c.GetClient())) > protocol.MaxNote:
		return "a note, agent or client address is too long"
	}
	return ""
}

func newBinding(c *storev1.Bind) Binding {
	return Binding{
		Session: sessionOf(c.GetSession()), Epoch: c.GetEpoch(),
		State: stateOf(c.GetState()), Note: c.GetNote(), Agent: c.GetAgent(), Client: c.GetClient(),
	}
}

// same reports whether a Bind would change nothing of o: a retry.
func same(o, b *Binding) bool {
	return o.Epoch == b.Epoch && o.State == b.State && o.Note == b.Note && o.Agent == b.Agent && o.Client == b.Client
}

// hasRoom reports whether the user may have one more living session beside
// those but the one at i: 16, and one more while one of them is being moved.
func (t *Table) hasRoom(l *Listener, i int) bool {
	room := protocol.MaxSessions
	living, draining := 0, false
	for j := range l.Bindings {
		o := &l.Bindings[j]
		node, _ := t.now.nodes.Get(o.Session.Node)
		switch {
		case !node.living(o.Epoch):
		case j == i:
			return true
		default:
			living, draining = living+1, draining || node.Draining
		}
	}
	if draining {
		room++
	}
	return living < room
}

// inherit sets b's times and indexes: those of the binding at i that it takes
// the place of, as far as that said the same.
func (t *Table) inherit(b *Binding, l *Listener, i int, rebind uint64, exclusive bool) {
	b.Since, b.Index, b.Bound = t.at, t.next(), t.next()
	if rebind > 0 {
		b.Bound = rebind
	}
	if i < 0 {
		return
	}
	o := &l.Bindings[i]
	if !exclusive {
		b.Bound = o.Bound
	}
	if o.State == b.State {
		b.Since = o.Since
	}
	if o.State == b.State && o.Note == b.Note {
		b.Index = o.Index
	}
}

func (t *Table) setExclusive(account *Account) {
	a := *account
	a.Exclusive = t.next()
	t.now.accounts.set(a.Address.String(), &a)
}

// setState changes the state, and if one is given the note, of a session.
func (t *Table) setState(c *storev1.SetState) Result {
	state := stateOf(c.GetState())
	if state == protocol.Deaf || len(c.GetNote()) > protocol.MaxNote {
		return refuse(Malformed, "no state, or a note that is too long")
	}
	if r := t.checkEpoch(c.GetSession().GetNode(), c.GetEpoch()); r.Refusal != None {
		return r
	}
	old, l := t.open(c.GetAddress())
	i := find(l, sessionOf(c.GetSession()))
	if i < 0 || l.Bindings[i].Epoch != c.GetEpoch() {
		return refuse(NotBound, "%s does not listen in this session", c.GetAddress())
	}
	b := &l.Bindings[i]
	note := b.Note
	if c.Note != nil {
		note = c.GetNote()
	}
	if b.State == state && b.Note == note {
		return Result{}
	}
	if b.State != state {
		b.Since = t.at
	}
	b.State, b.Note, b.Index = state, note, t.next()
	return t.commitBindings(old, l, b.Session.Node)
}

// release ends a session's listening, in whichever epoch it was bound last.
func (t *Table) release(c *storev1.Release) Result {
	if r := t.checkEpoch(c.GetSession().GetNode(), c.GetEpoch()); r.Refusal != None {
		return r
	}
	old, l := t.open(c.GetAddress())
	s := sessionOf(c.GetSession())
	if len(t.leave(l, func(b *Binding) bool { return b.Session == s })) == 0 {
		return refuse(NotBound, "%s does not listen in this session", c.GetAddress())
	}
	return t.commitBindings(old, l, s.Node)
}

func find(l *Listener, s Session) int {
	return slices.IndexFunc(l.Bindings, func(b Binding) bool { return b.Session == s })
}
