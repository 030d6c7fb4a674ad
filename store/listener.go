package store

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"simpd/protocol"
)

// Session identifies a session for its whole life: the node and the epoch in
// which it began, and its number there. LISTEN's response shows it.
type Session struct {
	Node          string
	Epoch, Number uint64
}

// String returns node.epoch.number, for example n1.7.42.
func (s Session) String() string {
	b := make([]byte, 0, len(s.Node)+24)
	b = append(append(b, s.Node...), '.')
	b = append(strconv.AppendUint(b, s.Epoch, 10), '.')
	return string(strconv.AppendUint(b, s.Number, 10))
}

// ParseSession parses what String returns. A node's ID may contain dots.
func ParseSession(s string) (Session, error) {
	head, number, ok2 := cutLast(s)
	node, epoch, ok1 := cutLast(head)
	e, err1 := strconv.ParseUint(epoch, 10, 64)
	n, err2 := strconv.ParseUint(number, 10, 64)
	if !ok1 || !ok2 || node == "" || err1 != nil || err2 != nil {
		return Session{}, fmt.Errorf("invalid session %q: must be node.epoch.number", s)
	}
	return Session{node, e, n}, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

func (s Session) compare(o Session) int {
	return cmp.Or(cmp.Compare(s.Node, o.Node), cmp.Compare(s.Epoch, o.Epoch), cmp.Compare(s.Number, o.Number))
}

// Binding describes one listening session of a user.
type Binding struct {
	Session Session
	// Epoch is the epoch in which Session's node bound it last. Messages are
	// routed to the binding only while this is the node's current epoch.
	Epoch uint64
	State protocol.State // available, busy or away
	Note  string
	Since time.Time // when the state began, by the clock of the node that proposed it
	Index uint64    // of the newest change of State or Note
	Bound uint64    // of the first Bind
	Agent string    // the client's program, as it names itself
	// Client is the client's network address.
	Client string
}

// Listener describes a user who listens, with all their sessions. It is
// immutable and shared by all readers.
type Listener struct {
	Address  protocol.Address
	Since    time.Time // when the user's state, the best of their sessions', began
	Index    uint64    // of the newest change visible to watchers
	Bindings []Binding // in the order of Bound; at least one
}

// Presence returns what a watcher sees: the best state of the sessions, and
// the newest note of those in that state. For nil it is Deaf, without an
// address.
func (l *Listener) Presence() protocol.Presence {
	if l == nil {
		return protocol.Presence{}
	}
	b := bestBinding(l.Bindings)
	return protocol.Presence{Address: l.Address, State: b.State, Note: b.Note, Since: l.Since, Index: l.Index}
}

// bestBinding returns the binding whose state and note represent the user.
func bestBinding(bindings []Binding) *Binding {
	b := &bindings[0]
	for i := range bindings {
		if isBetter(&bindings[i], b) {
			b = &bindings[i]
		}
	}
	return b
}

// isBetter reports whether b represents the user rather than c: the better
// state wins (protocol orders the best first), then the newer change.
func isBetter(b, c *Binding) bool {
	return b.State < c.State || b.State == c.State && b.Index > c.Index
}
