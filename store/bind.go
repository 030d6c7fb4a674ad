package store

import (
	"slices"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// bindSession makes a session a listening one, or updates a bound one.
// Bindings that the user has on nodes that are down end with it.
func (t *Table) bindSession(c *storev1.Bind) Result {
	account, r := t.checkBinding(c)
	if r.Refusal != None {
		return r
	}
	old, l := t.loadListener(c.GetAddress())
	b := newBinding(c)
	i := findBinding(l, b.Session)
	exclusive := c.GetExclusive() && c.GetRebind() == 0
	if i >= 0 && isRetry(&l.Bindings[i], &b) && (!exclusive || account.Exclusive == l.Bindings[i].Bound) {
		return Result{FirstBound: l.Bindings[i].Bound}
	}
	if !exclusive && !t.hasSessionRoom(l, i) {
		return refuse(TooManySessions, "%s listens in %d sessions already", c.GetAddress(), protocol.MaxSessions)
	}
	t.inheritFrom(&b, l, i, c.GetRebind(), exclusive)
	var displaced []Binding
	if exclusive {
		t.setExclusive(account)
		displaced = t.removeBindings(l, func(o *Binding) bool { return o.Session != b.Session })
	} else {
		t.removeBindings(l, func(o *Binding) bool { return o.Session != b.Session && t.isDown(o.Session.Node) })
	}
	t.storeBinding(l, b)
	r = t.commitBindings(old, l, b.Session.Node)
	r.FirstBound, r.Displaced = b.Bound, displaced
	return r
}

// checkBinding checks everything that forbids a Bind except the number of
// sessions.
func (t *Table) checkBinding(c *storev1.Bind) (*Account, Result) {
	if why := bindProblem(c); why != "" {
		return nil, refuse(Malformed, "%s", why)
	}
	if r := t.checkEpoch(c.GetSession().GetNode(), c.GetEpoch()); r.Refusal != None {
		return nil, r
	}
	if t.current.restoring != 0 {
		return nil, refuse(Restoring, "the accounts are being restored")
	}
	if c.GetRebind() > t.current.index {
		return nil, refuse(Malformed, "the session was never bound at %d", c.GetRebind())
	}
	account, ok := t.current.accounts.get(c.GetAddress())
	switch {
	case !ok:
		return nil, refuse(NoAccount, "there is no account %s", c.GetAddress())
	case account.Disabled:
		return nil, refuse(Disabled, "%s is disabled", c.GetAddress())
	case c.GetAppPassword() == 0 && account.Generation() > c.GetCredential():
		return nil, refuse(OldCredential, "%s", account.generationReason())
	case c.GetRebind() > 0 && account.Exclusive > c.GetRebind():
		return nil, refuse(Displaced, "%s has listened exclusively since", c.GetAddress())
	case c.GetAppPassword() != 0:
		return account, account.checkAppPassword(c)
	}
	return account, Result{}
}

func bindProblem(c *storev1.Bind) string {
	switch {
	case !validAddress(c.GetAddress()):
		return "no address"
	case c.GetSession().GetNode() == "":
		return "no session"
	case c.GetSession().GetEpoch() > c.GetEpoch():
		return "a session of a later epoch"
	case stateFromProto(c.GetState()) == protocol.Deaf:
		return "no state"
	case max(len(c.GetNote()), len(c.GetAgent()), len(c.GetClient())) > protocol.MaxNote:
		return "a note, agent or client address is too long"
	}
	return ""
}

func newBinding(c *storev1.Bind) Binding {
	return Binding{
		Session: SessionFromProto(c.GetSession()), Epoch: c.GetEpoch(),
		State: stateFromProto(c.GetState()), Note: c.GetNote(), Agent: c.GetAgent(), Client: c.GetClient(),
	}
}

// isRetry reports whether a Bind would change nothing of o.
func isRetry(o, b *Binding) bool {
	return o.Epoch == b.Epoch && o.State == b.State && o.Note == b.Note && o.Agent == b.Agent && o.Client == b.Client
}

// hasSessionRoom reports whether the user may have one more live session
// besides those other than the one at i. The limit is protocol.MaxSessions,
// and one more while one of the sessions is on a draining node.
func (t *Table) hasSessionRoom(l *Listener, i int) bool {
	room := protocol.MaxSessions
	living, draining := 0, false
	for j := range l.Bindings {
		o := &l.Bindings[j]
		node, _ := t.current.nodes.Get(o.Session.Node)
		switch {
		case !node.isCurrent(o.Epoch):
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

// inheritFrom sets b's times and indexes. It takes those of the binding at i
// that b replaces as far as the state and note are the same.
func (t *Table) inheritFrom(b *Binding, l *Listener, i int, rebind uint64, exclusive bool) {
	b.Since, b.Index, b.Bound = t.batchTime, t.nextIndex(), t.nextIndex()
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
	a.Exclusive = t.nextIndex()
	t.current.accounts.set(a.Address.String(), &a)
}

// setState changes the state of a session, and its note if one is given.
func (t *Table) setState(c *storev1.SetState) Result {
	state := stateFromProto(c.GetState())
	if state == protocol.Deaf || len(c.GetNote()) > protocol.MaxNote {
		return refuse(Malformed, "no state, or a note that is too long")
	}
	if r := t.checkEpoch(c.GetSession().GetNode(), c.GetEpoch()); r.Refusal != None {
		return r
	}
	old, l := t.loadListener(c.GetAddress())
	i := findBinding(l, SessionFromProto(c.GetSession()))
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
		b.Since = t.batchTime
	}
	b.State, b.Note, b.Index = state, note, t.nextIndex()
	return t.commitBindings(old, l, b.Session.Node)
}

// releaseSession ends a session's listening, in whichever epoch it was bound
// last.
func (t *Table) releaseSession(c *storev1.Release) Result {
	if r := t.checkEpoch(c.GetSession().GetNode(), c.GetEpoch()); r.Refusal != None {
		return r
	}
	old, l := t.loadListener(c.GetAddress())
	s := SessionFromProto(c.GetSession())
	if len(t.removeBindings(l, func(b *Binding) bool { return b.Session == s })) == 0 {
		return refuse(NotBound, "%s does not listen in this session", c.GetAddress())
	}
	return t.commitBindings(old, l, s.Node)
}

func findBinding(l *Listener, s Session) int {
	return slices.IndexFunc(l.Bindings, func(b Binding) bool { return b.Session == s })
}
