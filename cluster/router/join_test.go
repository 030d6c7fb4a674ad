package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// invite adds an invitation for an hour.
func (s *site) invite(code string, change func(*storev1.AddInvitation)) {
	s.t.Helper()
	add := &storev1.AddInvitation{
		CodeHash: protocol.HashInvitationCode(code), Domain: "example.com", Uses: 1, UntilMs: time.Now().Add(time.Hour).UnixMilli(),
	}
	if change != nil {
		change(add)
	}
	s.must(&storev1.Change{Kind: &storev1.Change_AddInvitation{AddInvitation: add}})
}

// join creates an account as a connection does, and returns the status.
func (n *node) join(code, user string) protocol.Status {
	a := protocol.CanonicalAddress(user)
	err := n.CheckInvitation(context.Background(), code, a)
	if err == nil {
		var c protocol.Credentials
		if c, err = protocol.NewCredentials("secret", []byte(fmt.Sprintf("%-16.16s", user)), protocol.MinScramIterations); err == nil {
			err = n.Join(context.Background(), code, a, c)
		}
	}
	var refused *protocol.Error
	if errors.As(err, &refused) {
		return refused.Status
	}
	return protocol.StatusOK
}

func TestJoinCreatesTheAccountOnAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		var log bytes.Buffer
		s.nodes["n1"].config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s.raiseSchema()
		s.invite("k3fm-7qpd", func(add *storev1.AddInvitation) { add.Contact = "alice@example.com" })
		if got := s.nodes["n1"].join("K3FM7QPD", "dave@example.com"); got != protocol.StatusOK {
			t.Fatalf("got %d", got)
		}
		for id, n := range s.nodes {
			c, known := n.Credentials(protocol.CanonicalAddress("dave@example.com"))
			if !known || !c.Fits("secret") {
				t.Errorf("%s: %t", id, known)
			}
			dave, alice := protocol.CanonicalAddress("dave@example.com"), protocol.CanonicalAddress("alice@example.com")
			of, by := n.config.Table.Contacts(dave), n.config.Table.Contacts(alice)
			if len(of) != 1 || of[0].Address != alice || len(by) != 1 || by[0].Address != dave {
				t.Errorf("%s: contacts %v and %v", id, of, by)
			}
		}
		if got := s.nodes["n2"].join("k3fm-7qpd", "erin@example.com"); got != protocol.StatusUnauthorized {
			t.Errorf("used twice: %d", got)
		}
		if said := log.String(); !strings.Contains(said, "JOIN") || !strings.Contains(said, "dave@example.com, invitation ") || strings.Contains(said, "7qpd") {
			t.Errorf("audit: %s", said)
		}
	})
}

// Two connections with the same code: one of them creates an account.
func TestJoinUsesACodeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		s.invite("code", nil)
		n1, n2 := s.nodes["n1"], s.nodes["n2"]
		var second protocol.Status
		hook := func() { second = n2.join("code", "erin@example.com") }
		n1.beforeProposal.Store(&hook)
		if first := n1.join("code", "dave@example.com"); first != protocol.StatusUnauthorized || second != protocol.StatusOK {
			t.Errorf("got %d and %d", first, second)
		}
	})
}

func TestJoinRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		n := s.nodes["n1"]
		if got := n.join("code", "dave@example.com"); got != protocol.StatusUnavailable {
			t.Errorf("before the schema: %d", got)
		}
		s.raiseSchema()
		s.invite("code", func(add *storev1.AddInvitation) { add.Uses = 9 })
		for user, want := range map[string]protocol.Status{
			"alice@example.com": protocol.StatusWrongState, // exists
			"aIice@example.com": protocol.StatusWrongState, // looks like alice
			"dave@example.org":  protocol.StatusForbidden,
		} {
			if got := n.join("code", user); got != want {
				t.Errorf("%s: %d, want %d", user, got, want)
			}
			if got := n.join("guess", user); got != protocol.StatusUnauthorized {
				t.Errorf("%s with a wrong code: %d", user, got)
			}
		}
		time.Sleep(time.Hour) // of the bubble's clock
		if got := n.join("code", "dave@example.com"); got != protocol.StatusUnauthorized {
			t.Errorf("after its end: %d", got)
		}
	})
}

// A node that is cut off does not call a code wrong that it may not have heard
// of yet.
func TestJoinOnANodeThatIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		s.setCut("n2", true)
		s.invite("code", nil)
		if got := s.nodes["n2"].join("code", "dave@example.com"); got != protocol.StatusUnavailable {
			t.Errorf("got %d", got)
		}
	})
}

// An invitation creates no account for an address that a directory of the
// domain knows, and none while the directory can't be asked.
func TestJoinLeavesDirectoriesTheirUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSourceSite(t, []string{"table", "corp"}, "n1")
		s.raiseSchema()
		s.invite("code", nil)
		if got := s.nodes["n1"].join("code", "dora@example.com"); got != protocol.StatusWrongState {
			t.Errorf("a user of the directory: %d", got)
		}
		d.set(func() { d.broken = errors.New("down") })
		if got := s.nodes["n1"].join("code", "erin@example.com"); got != protocol.StatusUnavailable {
			t.Errorf("the directory is down: %d", got)
		}
		d.set(func() { d.broken = nil })
		if got := s.nodes["n1"].join("code", "erin@example.com"); got != protocol.StatusOK {
			t.Errorf("nobody else's address: %d", got)
		}
	})
}
