package store_test

import (
	"maps"
	"slices"
	"strings"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// model is the table in the plainest words: maps, and a rule for each change
// written a second time, without a thought of speed.
type model struct {
	index    uint64
	clock    int64
	accounts map[string]store.Account
	bound    map[string]map[store.Session]store.Binding
	seen     map[string]protocol.Presence // of who listens
	nodes    map[string]store.Node
	lists    map[string]map[string]string // rules and contacts, in one
}

func newModel() *model {
	return &model{
		accounts: map[string]store.Account{}, bound: map[string]map[store.Session]store.Binding{},
		seen: map[string]protocol.Presence{}, nodes: map[string]store.Node{}, lists: map[string]map[string]string{},
	}
}

// apply returns how many indexes the change took, and why none.
func (m *model) apply(c *storev1.Change) (taken uint64, why store.Refusal) {
	before := m.index
	switch k := c.Kind.(type) {
	case *storev1.Change_Bind:
		why = m.bind(k.Bind)
	case *storev1.Change_SetState:
		why = m.setState(k.SetState)
	case *storev1.Change_Release:
		why = m.release(k.Release)
	case *storev1.Change_NodeUp:
		m.nodeUp(k.NodeUp)
	case *storev1.Change_NodeDown:
		why = m.nodeDown(k.NodeDown)
	case *storev1.Change_SetDraining:
		why = m.setDraining(k.SetDraining)
	case *storev1.Change_RemoveNode:
		why = m.removeNode(k.RemoveNode.Node)
	case *storev1.Change_Reap:
		why = m.reap(k.Reap)
	case *storev1.Change_PutAccount:
		why = m.putAccount(k.PutAccount)
	case *storev1.Change_DeleteAccount:
		why = m.deleteAccount(k.DeleteAccount.Address)
	case *storev1.Change_SetDisabled:
		why = m.setDisabled(k.SetDisabled)
	case *storev1.Change_SetContact:
		why = m.setContact(k.SetContact)
	}
	return m.index - before, why
}

func (m *model) living(node string, epoch uint64) bool {
	n, ok := m.nodes[node]
	return ok && !n.Down && n.Epoch == epoch
}

func (m *model) bind(c *storev1.Bind) store.Refusal {
	a, ok := m.accounts[c.Address]
	exclusive := c.Exclusive && c.Rebind == 0
	switch {
	case !m.living(c.Session.Node, c.Epoch):
		return store.EndedEpoch
	case c.Rebind > m.index:
		return store.Malformed
	case !ok:
		return store.NoAccount
	case a.Disabled:
		return store.Disabled
	case a.Credential > c.Credential:
		return store.OldCredential
	case c.Rebind > 0 && a.Exclusive > c.Rebind:
		return store.Displaced
	}
	s := store.Session{Node: c.Session.Node, Epoch: c.Session.Epoch, Number: c.Session.Number}
	old, again := m.bound[c.Address][s]
	b := store.Binding{Session: s, Epoch: c.Epoch, State: protocol.State(c.State), Note: c.Note, Index: m.index + 1, Bound: m.index + 1}
	if c.Rebind > 0 {
		b.Bound = c.Rebind
	}
	if again && !exclusive {
		b.Bound = old.Bound
	}
	if again && old.State == b.State && old.Note == b.Note {
		if old.Epoch == b.Epoch && (!exclusive || a.Exclusive == old.Bound) {
			return store.None
		}
		b.Index = old.Index
	}
	if !exclusive && !(again && m.living(s.Node, old.Epoch)) && m.full(c.Address) {
		return store.TooManySessions
	}
	m.index++
	maps.DeleteFunc(m.bound[c.Address], func(o store.Session, _ store.Binding) bool {
		return exclusive || m.nodes[o.Node].Down
	})
	if m.bound[c.Address] == nil {
		m.bound[c.Address] = map[store.Session]store.Binding{}
	}
	m.bound[c.Address][s] = b
	if exclusive {
		a.Exclusive = m.index
		m.accounts[c.Address] = a
	}
	m.look(c.Address)
	return store.None
}

func (m *model) full(address string) bool {
	n, room := 0, protocol.MaxSessions
	for s, b := range m.bound[address] {
		if m.living(s.Node, b.Epoch) {
			if n++; m.nodes[s.Node].Draining {
				room = protocol.MaxSessions + 1
			}
		}
	}
	return n >= room
}

// look sees address anew after a change.
func (m *model) look(address string) {
	if len(m.bound[address]) == 0 {
		delete(m.bound, address)
		delete(m.seen, address)
		return
	}
	best := slices.MinFunc(slices.Collect(maps.Values(m.bound[address])), func(a, b store.Binding) int {
		if a.State != b.State {
			return int(a.State) - int(b.State)
		}
		return int(b.Index) - int(a.Index)
	})
	was, now := m.seen[address], m.seen[address]
	now.State, now.Note = best.State, best.Note
	if was.State != now.State {
		now.Since = timeOf(m.clock)
	}
	if was.State != now.State || was.Note != now.Note {
		now.Index = m.index
	}
	now.Address = protocol.CanonicalAddress(address)
	m.seen[address] = now
}

func (m *model) setState(c *storev1.SetState) store.Refusal {
	if !m.living(c.Session.Node, c.Epoch) {
		return store.EndedEpoch
	}
	s := store.Session{Node: c.Session.Node, Epoch: c.Session.Epoch, Number: c.Session.Number}
	b, ok := m.bound[c.Address][s]
	if !ok || b.Epoch != c.Epoch {
		return store.NotBound
	}
	was := b
	b.State = protocol.State(c.State)
	if c.Note != nil {
		b.Note = *c.Note
	}
	if b == was {
		return store.None
	}
	m.index++
	b.Index = m.index
	m.bound[c.Address][s] = b
	m.look(c.Address)
	return store.None
}

func (m *model) release(c *storev1.Release) store.Refusal {
	if !m.living(c.Session.Node, c.Epoch) {
		return store.EndedEpoch
	}
	s := store.Session{Node: c.Session.Node, Epoch: c.Session.Epoch, Number: c.Session.Number}
	if _, ok := m.bound[c.Address][s]; !ok {
		return store.NotBound
	}
	m.index++
	delete(m.bound[c.Address], s)
	m.look(c.Address)
	return store.None
}

func (m *model) nodeUp(c *storev1.NodeUp) {
	if n, ok := m.nodes[c.Node]; !ok || n.Down || n.Incarnation != c.Incarnation {
		m.index++
		m.nodes[c.Node] = store.Node{ID: c.Node, Epoch: m.index, Incarnation: c.Incarnation}
	}
}

func (m *model) nodeDown(c *storev1.NodeDown) store.Refusal {
	n, ok := m.nodes[c.Node]
	switch {
	case !ok:
		return store.NoNode
	case n.Epoch != c.Epoch:
		return store.EndedEpoch
	case !n.Down:
		m.index++
		n.Down, n.Draining = true, false
		m.nodes[c.Node] = n
	}
	return store.None
}

func (m *model) setDraining(c *storev1.SetDraining) store.Refusal {
	if !m.living(c.Node, c.Epoch) {
		return store.EndedEpoch
	}
	if n := m.nodes[c.Node]; n.Draining != c.Draining {
		m.index++
		n.Draining = c.Draining
		m.nodes[c.Node] = n
	}
	return store.None
}

// left returns who has bindings of ended epochs of node, in order.
func (m *model) left(node string) (users []string) {
	for _, address := range slices.Sorted(maps.Keys(m.bound)) {
		for s, b := range m.bound[address] {
			if s.Node == node && !m.living(node, b.Epoch) {
				users = append(users, address)
				break
			}
		}
	}
	return users
}

func (m *model) removeNode(node string) store.Refusal {
	n, ok := m.nodes[node]
	switch {
	case !ok:
		return store.NoNode
	case !n.Down || len(m.left(node)) > 0:
		return store.NodeInUse
	}
	m.index++
	delete(m.nodes, node)
	return store.None
}

func (m *model) reap(c *storev1.Reap) store.Refusal {
	if _, ok := m.nodes[c.Node]; !ok {
		return store.NoNode
	}
	users := m.left(c.Node)
	for _, address := range users[:min(len(users), int(c.Limit))] {
		m.index++
		maps.DeleteFunc(m.bound[address], func(s store.Session, b store.Binding) bool {
			return s.Node == c.Node && !m.living(c.Node, b.Epoch)
		})
		m.look(address)
	}
	return store.None
}

func (m *model) putAccount(c *storev1.PutAccount) store.Refusal {
	a, ok := m.accounts[c.Address]
	switch {
	case ok && string(a.Verifier.StoredKey) == string(c.Verifier.StoredKey):
		return store.None
	case ok && c.Mode == storev1.PutAccount_MODE_CREATE:
		return store.Exists
	case !ok && c.Mode == storev1.PutAccount_MODE_REPLACE:
		return store.NoAccount
	}
	m.index++
	a.Verifier.StoredKey, a.Credential = c.Verifier.StoredKey, m.index
	m.accounts[c.Address] = a
	m.end(c.Address, c.Keep)
	return store.None
}

func (m *model) end(address string, keep *storev1.Session) {
	maps.DeleteFunc(m.bound[address], func(s store.Session, _ store.Binding) bool {
		return s != store.Session{Node: keep.GetNode(), Epoch: keep.GetEpoch(), Number: keep.GetNumber()}
	})
	m.look(address)
}

func (m *model) deleteAccount(address string) store.Refusal {
	if _, ok := m.accounts[address]; !ok {
		return store.NoAccount
	}
	m.index++
	delete(m.accounts, address)
	delete(m.lists, address)
	m.end(address, nil)
	return store.None
}

func (m *model) setDisabled(c *storev1.SetDisabled) store.Refusal {
	a, ok := m.accounts[c.Address]
	if !ok {
		return store.NoAccount
	}
	if a.Disabled != c.Disabled {
		m.index++
		a.Disabled = c.Disabled
		m.accounts[c.Address] = a
		m.end(c.Address, nil)
	}
	return store.None
}

func (m *model) setContact(c *storev1.SetContact) store.Refusal {
	if _, ok := m.accounts[c.Owner]; !ok {
		return store.NoAccount
	}
	list := m.lists[c.Owner]
	name, ok := list[c.Address]
	switch {
	case c.Remove && !ok, !c.Remove && ok && name == c.Name:
		return store.None
	case c.Remove:
		delete(list, c.Address)
	case list == nil:
		m.lists[c.Owner] = map[string]string{c.Address: c.Name}
	default:
		list[c.Address] = c.Name
	}
	m.index++
	return store.None
}

// routes are the sessions of address that lead somewhere, in order of Bound.
func (m *model) routes(address string) (to []string) {
	for _, b := range m.bindings(address) {
		if m.living(b.Session.Node, b.Epoch) {
			to = append(to, b.Session.String())
		}
	}
	return to
}

func (m *model) bindings(address string) []store.Binding {
	return slices.SortedFunc(maps.Values(m.bound[address]), func(a, b store.Binding) int {
		if a.Bound != b.Bound {
			return int(a.Bound) - int(b.Bound)
		}
		return strings.Compare(a.Session.String(), b.Session.String())
	})
}
