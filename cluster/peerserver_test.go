package cluster

import (
	"slices"
	"testing"

	"simpd/protocol"
	"simpd/store"
)

// TestKickAndWatchersReachTheOtherNode: with the user, the session and those
// who watch as they are.
func TestKickAndWatchersReachTheOtherNode(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect = 2
		alice, bob := address(t, "alice@example.com"), address(t, "bob@example.com")
		session := store.Session{Node: "n2", Epoch: 3, Number: 42}
		l.setup = func(c *Config) {
			if r := c.Receiver.(*receiver); c.NodeID == "n2" {
				r.by = []protocol.Address{alice, bob}
				r.kick = func(user protocol.Address, s *store.Session) int {
					switch {
					case user != alice:
						return 0
					case s == nil:
						return 2
					case *s == session:
						return 1
					}
					return 0
				}
			}
		}
		l.start("n1", "n2")
		l.awaitReady()
		n := l.nodes["n1"]
		if closed, err := n.Kick(within(t), alice, nil); closed != 2 || err != nil {
			t.Errorf("all of them: %d, %v", closed, err)
		}
		if closed, err := n.Kick(within(t), alice, &session); closed != 1 || err != nil {
			t.Errorf("one of them: %d, %v", closed, err)
		}
		if by, partial := n.Watchers(within(t), alice); !slices.Equal(by, []protocol.Address{alice, bob}) || partial {
			t.Errorf("watchers %v, partial %v", by, partial)
		}
	})
}
