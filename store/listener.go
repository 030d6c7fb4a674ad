package store

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"simpd/protocol"
)

// Session names a session for its whole life: the node and the epoch in which
// it began, and its number there. It is what LISTEN's answer shows.
type Session struct {
	Node          string
	Epoch, Number uint64
}

// String returns node.epoch.number, such as n1.7.42.
func (s Session) String() string {
	b := make([]byte, 0, len(s.Node)+24)
	b = append(append(b, s.Node...), '.')
	b = append(strconv.AppendUint(b, s.Epoch, 10), '.')
	return string(strconv.AppendUint(b, s.Number, 10))
}

// ParseSession reads what String wrote. A node's id may hold dots.
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

// Binding is one listening session of a user.
type Binding struct {
	Session Session
	// Epoch is the one in which Session's node bound it last. The binding
	// leads somewhere while this is the living epoch of the node.
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

// Listener is a user who listens, with all their sessions. It is immutable,
// and shared by all who read it.
type Listener struct {
	Address  protocol.Address
	Since    time.Time // when the user's state began: the best of their sessions'
	Index    uint64    // of the newest change that a watcher may see
	Bindings []Binding // in the order of Bound; at least one
}

// Presence returns what a watcher sees: the best state of the sessions, and
// of those in it the newest note. Of nil it is Deaf, with no address.
func (l *Listener) Presence() protocol.Presence {
	if l == nil {
		return protocol.Presence{}
	}
	b := best(l.Bindings)
	return protocol.Presence{Address: l.Address, State: b.State, Note: b.Note, Since: l.Since, Index: l.Index}
}

// best returns the binding that speaks for the user.
func best(bindings []Binding) *Binding {
	b := &bindings[0]
	for i := range bindings {
		if better(&bindings[i], b) {
			b = &bindings[i]
		}
	}
	return b
}

// better reports whether b speaks for the user rather than c: by the better
// state (protocol has the best first), then by the newer change.
func better(b, c *Binding) bool {
	return b.State < c.State || b.State == c.State && b.Index > c.Index
}
