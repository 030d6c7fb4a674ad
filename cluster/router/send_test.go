package router

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// Each test names the rule of SIMP.md section 6 that it shows.

func TestRule1DeliveredOnlyOnAcknowledgement(t *testing.T) {
	for _, where := range []string{"n1", "n2"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "n1", "n2")
			bob := s.listen("bob", where)
			alice := s.login("alice", "n1")
			want(t, "acknowledged", alice.send(t, "bob", "m1"), protocol.StatusOK)
			if got := bob.received(); !slices.Equal(got, []string{"m1"}) {
				t.Errorf("bob got %v", got)
			}
		})
	}
}

func TestRule2CertainFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		alice := s.login("alice", "n1")
		want(t, "nobody listens", alice.send(t, "bob", "m1"), protocol.StatusNotListening)
		want(t, "no such user", alice.send(t, "zoe", "m2"), protocol.StatusUnknownAddress)
		bob := s.listen("bob", "n2")
		for _, status := range []protocol.Status{protocol.StatusRefused, protocol.StatusNotReading, protocol.StatusWrongState} {
			bob.answer = answers(status)
			want(t, "the client said so", alice.send(t, "bob", "m3"), status)
		}
		s.nodes["n2"].dead.Store(true)
		want(t, "bob's node is dead", alice.send(t, "bob", "m4"), protocol.StatusUnavailable)
	})
}

func TestRule2NobodyIsConfirmedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		alice := s.login("alice", "n1")
		alice.send(t, "bob", "m1")
		if n := s.nodes["n1"].asked; n != 1 {
			t.Errorf("480 after %d confirmed look-ups, want 1", n)
		}
		s.setCut("n1", true)
		want(t, "480 can't be confirmed", alice.send(t, "bob", "m2"), protocol.StatusUnavailable)
		want(t, "404 can't be confirmed", alice.send(t, "zoe", "m3"), protocol.StatusUnavailable)
	})
}

func TestRule3InDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n2")
		alice := s.login("alice", "n1")
		bob.answer = answers(protocol.StatusIndeterminate)
		want(t, "handed over, no answer", alice.send(t, "bob", "m1"), protocol.StatusIndeterminate)
		// A session that has it is not replaced by another that comes later.
		other := s.listen("bob", "n1")
		if got := other.received(); len(got) > 0 {
			t.Errorf("another session was handed %v", got)
		}
	})
}

func TestRule4AnsweredInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.listen("bob", "n2")
		alice := s.login("alice", "n1")
		s.nodes["n2"].mute = true
		began := time.Now()
		o := <-alice.start("bob", "m1", 2*time.Second)
		want(t, "a node that is silent", o, protocol.StatusIndeterminate)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("answered after %v, want at most timeout + 1 s", took)
		}
	})
}

func TestRule5OrderDuringLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n2")
		alice := s.login("alice", "n1")
		// n2 does not have the session that n1's table names: the message is
		// looked up anew, and the ones behind it wait.
		s.nodes["n2"].users.removeSession(bob.sessionID)
		moved := s.login("bob", "n1")
		first := alice.start("bob", "m1", time.Second)
		moved.mustListen(t, protocol.ListenRequest{State: protocol.Available})
		second := alice.start("bob", "m2", time.Second)
		<-first
		want(t, "the second", <-second, protocol.StatusOK)
		if got := moved.received(); !slices.IsSorted(got) {
			t.Errorf("got %v out of order", got)
		}
	})
}

func TestRule5OrderWhenTheRecipientMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		old := s.listen("bob", "n2")
		alice := s.login("alice", "n1")
		late := make(chan struct{})
		s.nodes["n2"].late = late
		first := alice.start("bob", "m1", 10*time.Second)
		old.Close() // while m1 is on its way
		synctest.Wait()
		moved := s.listen("bob", "n1")
		want(t, "the second", <-alice.start("bob", "m2", time.Second), protocol.StatusOK)
		close(late)
		want(t, "the first, which comes too late", <-first, protocol.StatusUnavailable)
		if got := moved.received(); !slices.Equal(got, []string{"m2"}) {
			t.Errorf("got %v", got)
		}
		s.nodes["n2"].late = nil
		want(t, "the third", <-alice.start("bob", "m3", time.Second), protocol.StatusOK)
	})
}

func TestStaleRouteIsCorrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2", "n3")
		alice := s.login("alice", "n1")
		old := s.listen("bob", "n2")
		s.setCut("n1", true) // n1 misses that bob moves
		s.nodes["n1"].lostAt = time.Now()
		old.Close()
		synctest.Wait()
		moved := s.listen("bob", "n3")
		s.mu.Lock()
		s.nodes["n1"].cut = false // it hears of it by the confirmed look-up
		s.nodes["n1"].catchUp()
		s.mu.Unlock()
		want(t, "bob on his new node", alice.send(t, "bob", "m1"), protocol.StatusOK)
		if len(moved.received()) != 1 || len(old.received()) != 0 {
			t.Errorf("old got %v, new %v", old.received(), moved.received())
		}
	})
}

func TestRule7SeveralSessions(t *testing.T) {
	tests := []struct {
		name         string
		first, other protocol.Status
		want         protocol.Status
	}{
		{"one acknowledges", protocol.StatusRefused, protocol.StatusOK, protocol.StatusOK},
		{"in doubt before refused", protocol.StatusRefused, protocol.StatusIndeterminate, protocol.StatusIndeterminate},
		{"refused before not reading", protocol.StatusNotReading, protocol.StatusRefused, protocol.StatusRefused},
		{"not reading before not listening", protocol.StatusNotReading, protocol.StatusNotListening, protocol.StatusNotReading},
		{"other octets rank with refused", protocol.StatusNotReading, protocol.StatusWrongState, protocol.StatusWrongState},
		{"none left", protocol.StatusNotListening, protocol.StatusNotListening, protocol.StatusNotListening},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "n1", "n2")
				alice := s.login("alice", "n1")
				a, b := s.listen("bob", "n1"), s.listen("bob", "n2")
				a.answer, b.answer = answers(test.first), answers(test.other)
				want(t, "both", alice.send(t, "bob", "m1"), test.want)
				if len(a.received()) != 1 || len(b.received()) != 1 {
					t.Errorf("each session receives every message: %v %v", a.received(), b.received())
				}
			})
		})
	}
}

func TestRule7UnreachedNodeRanksBeforeNotListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2", "n3")
		alice := s.login("alice", "n1")
		s.listen("bob", "n2")
		b := s.listen("bob", "n3")
		b.answer = answers(protocol.StatusNotListening)
		s.nodes["n2"].dead.Store(true)
		want(t, "one node dead, the other session gone", alice.send(t, "bob", "m1"), protocol.StatusUnavailable)
	})
}

func TestRule8FromIsTheAuthenticatedUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		bob := s.listen("bob", "n1")
		alice := s.login("alice", "n1")
		var from protocol.Address
		bob.answer = func(m *protocol.Message, done func(protocol.Outcome)) {
			from = m.From
			done(protocol.Outcome{Status: protocol.StatusOK})
		}
		done := make(chan protocol.Outcome, 1)
		alice.Send(&protocol.SendRequest{
			From: addr("carol@example.com"), To: []protocol.Address{addr("bob@example.com")}, ID: "m1",
			Received: time.Now(), Timeout: time.Second, Done: func(_ int, o protocol.Outcome) { done <- o },
		})
		<-done
		if from != addr("alice@example.com") {
			t.Errorf("from is %s", from)
		}
	})
}

func TestDeadNodeIsNotRoutedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.listen("bob", "n2")
		alice := s.login("alice", "n1")
		s.nodes["n2"].dead.Store(true)
		s.down("n2")
		want(t, "after NodeDown", alice.send(t, "bob", "m1"), protocol.StatusNotListening)
	})
}

func TestBlockedSenderCantTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob, alice := s.listen("bob", "n2"), s.login("alice", "n1")
		absent := alice.send(t, "carol", "m1")
		lookups := s.nodes["n1"].asked
		who, _ := protocol.ParsePattern("alice@example.com")
		if err := bob.SetRule(t.Context(), protocol.Rule{Who: who, Message: protocol.Deny}); err != nil {
			t.Fatal(err)
		}
		blocked := alice.send(t, "bob", "m2")
		if blocked.Status != absent.Status || s.nodes["n1"].asked != 2*lookups {
			t.Errorf("blocked: %v after %d look-ups; absent: %v after %d", blocked, s.nodes["n1"].asked-lookups, absent, lookups)
		}
		if len(bob.received()) != 0 {
			t.Error("a forbidden message was delivered")
		}
		s.setCut("n1", true)
		want(t, "it fails in the same way, too", alice.send(t, "bob", "m3"), protocol.StatusUnavailable)
	})
}

func TestRulesAreCheckedAgainWhereTheSessionIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n2")
		s.setCut("n1", true) // n1 does not hear of the rule
		s.must(&storev1.Change{Kind: &storev1.Change_SetRule{SetRule: &storev1.SetRule{
			Owner: "bob@example.com", Pattern: "*", Message: storev1.Permission_PERMISSION_DENY,
		}}})
		var got protocol.Outcome
		s.nodes["n2"].Router.DeliverToSession(bob.sessionID, &protocol.Message{From: addr("alice@example.com"), To: addr("bob@example.com")},
			func(o protocol.Outcome) { got = o })
		want(t, "at bob's node", got, protocol.StatusNotListening)
	})
}

// A session is handed nothing that is another user's, wherever the message was
// led to it: the table knows who listens by a hash.
func TestASessionIsHandedItsUsersMessagesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		bob := s.listen("bob", "n2")
		var got protocol.Outcome
		s.nodes["n2"].Router.DeliverToSession(bob.sessionID, &protocol.Message{From: addr("alice@example.com"), To: addr("carol@example.com")},
			func(o protocol.Outcome) { got = o })
		want(t, "at bob's node", got, protocol.StatusNotListening)
		if ids := bob.received(); len(ids) > 0 {
			t.Errorf("bob got %q", ids)
		}
	})
}

func TestOtherDomainsWithoutRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		alice := s.login("alice", "n1")
		for _, to := range []string{"bob@two.example", "bob@[192.0.2.1]"} {
			done := make(chan protocol.Outcome, 1)
			alice.Send(&protocol.SendRequest{To: []protocol.Address{addr(to)}, ID: "m", Received: time.Now(), Timeout: time.Second,
				Done: func(_ int, o protocol.Outcome) { done <- o }})
			want(t, to, <-done, protocol.StatusRemoteFailure)
		}
	})
}
