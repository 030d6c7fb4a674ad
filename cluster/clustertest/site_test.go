package clustertest

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

func TestAMessageReachesTheListenerFromEveryNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3, Secure: true, Disk: true})
		for i := 1; i <= 3; i++ {
			bob := s.Login(i, "bob")
			if _, _, err := bob.Listen(protocol.ListenRequest{Exclusive: true}); err != nil {
				t.Fatal(err)
			}
			for j := 1; j <= 3; j++ {
				if got := s.Login(j, "alice").Say("bob", "hello"); got.Status != protocol.StatusOK {
					t.Errorf("from %d to %d: %v", j, i, got)
				}
			}
			if got := bob.Got(); len(got) != 3 {
				t.Errorf("at %d came %q", i, got)
			}
		}
	})
}

func TestALookUpIsNeverBehindAnAcknowledgedListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3})
		alices := []*Client{s.Login(1, "alice"), s.Login(2, "alice"), s.Login(3, "alice")}
		for round := range 100 {
			bob := s.Login(1+round%3, "bob")
			if _, _, err := bob.Listen(protocol.ListenRequest{}); err != nil {
				t.Fatal(err)
			}
			for j, alice := range alices {
				if got := alice.Say("bob", "hello"); got.Status != protocol.StatusOK {
					t.Errorf("round %d, from %d: %v", round, j+1, got)
				}
			}
			if err := bob.Unlisten(); err != nil {
				t.Fatal(err)
			}
			for j, alice := range alices {
				if got := alice.Say("bob", "hello"); got.Status != protocol.StatusNotListening {
					t.Errorf("round %d, afterwards from %d: %v", round, j+1, got)
				}
			}
			bob.Close()
		}
	})
}

func TestAnExclusiveListenTakesOverAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3})
		first, second := s.Login(1, "bob"), s.Login(2, "bob")
		for _, bob := range []*Client{first, second} {
			if _, _, err := bob.Listen(protocol.ListenRequest{Exclusive: true}); err != nil {
				t.Fatal(err)
			}
		}
		if got := first.Told(); !slices.Equal(got, []string{"unlistened"}) {
			t.Errorf("the first was told %q", got)
		}
		if got := s.Login(3, "alice").Say("bob", "hello"); got.Status != protocol.StatusOK || len(first.Got()) != 0 || len(second.Got()) != 1 {
			t.Errorf("%v; the first got %q, the second %q", got, first.Got(), second.Got())
		}
	})
}

func TestAKilledNodesUsersAreDeafSoonAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3, Disk: true})
		leader := s.Leader().Number
		victim, sender, watcher := 1+leader%3, leader, 1+(leader+1)%3
		bob := s.Login(victim, "bob")
		if _, _, err := bob.Listen(protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		carol := s.Login(watcher, "carol")
		if _, err := carol.Watch("bob"); err != nil {
			t.Fatal(err)
		}
		s.Eventually("bob is seen", func() bool { return carol.Sees("bob") == protocol.Available })
		seen := len(carol.Notices())
		before := time.Now()
		s.Kill(victim)
		s.Eventually("bob is deaf", func() bool { return carol.Sees("bob") == protocol.Deaf })
		if took := time.Since(before); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if got := s.Login(sender, "alice").Say("bob", "hello"); got.Status != protocol.StatusNotListening {
			t.Errorf("a message: %v", got)
		}
		s.Start(victim)
		s.AwaitReady()
		if n := len(carol.Notices()); n != seen+1 {
			t.Errorf("carol was told %v", carol.Notices())
		}
		if _, _, err := s.Login(victim, "bob").Listen(protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		if got := s.Login(sender, "alice").Say("bob", "hello"); got.Status != protocol.StatusOK {
			t.Errorf("a message afterwards: %v", got)
		}
	})
}

func TestTheLossOfALeaderLeavesLiveSessionsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3, Disk: true})
		leader := s.Leader().Number
		here, there := 1+leader%3, 1+(leader+1)%3
		bob, alice := s.Login(here, "bob"), s.Login(there, "alice")
		if _, _, err := bob.Listen(protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		s.Kill(leader)
		for i := range 10 {
			if got := alice.Say("bob", "hello"); got.Status != protocol.StatusOK {
				t.Errorf("message %d: %v", i, got)
			}
		}
		before := time.Now()
		if _, _, err := s.Login(there, "carol").Listen(protocol.ListenRequest{}); err != nil {
			t.Errorf("a new LISTEN: %v", err)
		}
		if took := time.Since(before); took > 3*time.Second {
			t.Errorf("a new LISTEN took %v", took)
		}
	})
}

func TestANodeThatWasCutOffBindsItsSessionsAgain(t *testing.T) {
	for _, leads := range []bool{false, true} {
		t.Run(fmt.Sprintf("leads=%v", leads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(t, Config{Nodes: 3})
				leader := s.Leader().Number
				cut, other := leader, 1+leader%3
				if !leads {
					cut, other = other, cut
				}
				bob, carol := s.Login(cut, "bob"), s.Login(cut, "carol")
				for _, c := range []*Client{bob, carol} {
					if _, _, err := c.Listen(protocol.ListenRequest{}); err != nil {
						t.Fatal(err)
					}
				}
				alice := s.Login(other, "alice")
				if _, err := alice.Watch("bob", "carol"); err != nil {
					t.Fatal(err)
				}
				s.Eventually("they are seen", func() bool {
					return alice.Sees("bob") == protocol.Available && alice.Sees("carol") == protocol.Available
				})
				s.Isolate(cut)
				s.Eventually("they are deaf", func() bool { return alice.Sees("bob") == protocol.Deaf && alice.Sees("carol") == protocol.Deaf })
				elsewhere := s.Login(other, "carol")
				if _, _, err := elsewhere.Listen(protocol.ListenRequest{Exclusive: true}); err != nil {
					t.Fatal(err)
				}
				s.Rejoin(cut)
				s.AwaitReady()
				s.Eventually("bob is back", func() bool { return alice.Sees("bob") == protocol.Available })
				s.Eventually("carol's old session knows", func() bool { return slices.Contains(carol.Told(), "unlistened") })
				for user, c := range map[string]*Client{"bob": bob, "carol": elsewhere} {
					if got := alice.Say(user, "hello"); got.Status != protocol.StatusOK || len(c.Got()) != 1 {
						t.Errorf("to %s: %v, %q", user, got, c.Got())
					}
				}
				if len(carol.Got()) != 0 {
					t.Error("a displaced session got a message")
				}
			})
		})
	}
}

func TestWithoutTheMajorityNothingIsPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3})
		bob, alice := s.Login(1, "bob"), s.Login(1, "alice")
		if _, _, err := bob.Listen(protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := alice.Watch("bob"); err != nil {
			t.Fatal(err)
		}
		s.Isolate(1)
		if got := alice.Say("bob", "hello"); got.Status != protocol.StatusOK {
			t.Errorf("to a session here: %v", got)
		}
		<-time.After(500 * time.Millisecond) // until then a leader may act on what it was told before
		if got := alice.Say("carol", "hello"); got.Status != protocol.StatusUnavailable {
			t.Errorf("to one who does not listen here: %v", got)
		}
		<-time.After(5 * time.Second)
		if got := alice.Told(); !slices.Equal(got, []string{"stale"}) {
			t.Errorf("after 5 s the watcher was told %q", got)
		}
		if state, err := alice.Query("bob", false); state != protocol.Unknown {
			t.Errorf("QUERY says %v, %v", state, err)
		}
		<-time.After(6 * time.Second)
		if got := alice.Told(); !slices.Equal(got, []string{"stale", "bye 503"}) {
			t.Errorf("after 11 s the watcher was told %q", got)
		}
	})
}

func TestWatchersAreFoundOnAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3})
		for i, who := range []string{"alice", "carol"} {
			if _, err := s.Login(i+1, who).Watch("bob"); err != nil {
				t.Fatal(err)
			}
		}
		bob := s.Login(3, "bob")
		ctx, cancel := s.Within(time.Second)
		defer cancel()
		by, partial, err := bob.Connection.Watchers(ctx)
		if err != nil || partial || len(by) != 2 {
			t.Errorf("%v, partial %v, %v", by, partial, err)
		}
	})
}

func TestAStoppedLeaderHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3, Disk: true})
		leader := s.Leader().Number
		other := 1 + leader%3
		if _, _, err := s.Login(leader, "bob").Listen(protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		carol := s.Login(other, "carol")
		if _, err := carol.Watch("bob"); err != nil {
			t.Fatal(err)
		}
		s.Stop(leader)
		before := time.Now()
		if _, _, err := carol.Listen(protocol.ListenRequest{}); err != nil {
			t.Errorf("a LISTEN at once: %v", err)
		}
		if took := time.Since(before); took > time.Second {
			t.Errorf("a LISTEN took %v", took)
		}
		s.Eventually("bob is deaf", func() bool { return carol.Sees("bob") == protocol.Deaf })
		s.Start(leader)
		s.AwaitReady()
		s.AwaitSame()
	})
}

func TestTwoNodesThatAreCutApartHarmNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3})
		leader := s.Leader().Number
		one, two := 1+leader%3, 1+(leader+1)%3
		alice, bob, carol := s.Login(one, "alice"), s.Login(two, "bob"), s.Login(leader, "carol")
		for _, c := range []*Client{alice, bob, carol} {
			if _, _, err := c.Listen(protocol.ListenRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		s.Cut(one, two)
		<-time.After(time.Minute)
		if now := s.Leader().Number; now != leader {
			t.Errorf("the leader is %d now", now)
		}
		for _, c := range []struct {
			from *Client
			to   string
			want protocol.Status
		}{
			{alice, "carol", protocol.StatusOK}, {carol, "alice", protocol.StatusOK},
			{bob, "carol", protocol.StatusOK}, {carol, "bob", protocol.StatusOK},
			{alice, "bob", protocol.StatusUnavailable}, {bob, "alice", protocol.StatusUnavailable},
		} {
			if got := c.from.Say(c.to, "hello"); got.Status != c.want {
				t.Errorf("from %s to %s: %v", c.from.Client().User, c.to, got)
			}
		}
		s.Heal(one, two)
		s.Eventually("they reach one another", func() bool {
			return alice.Say("bob", "hello").Status == protocol.StatusOK && bob.Say("alice", "hello").Status == protocol.StatusOK
		})
	})
}

func TestAWholeSiteComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{Nodes: 3, Disk: true})
		if _, _, err := s.Login(1, "bob").Listen(protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		history, index := s.Node(1).Table.History(), s.Node(1).Table.Index()
		for i := 1; i <= 3; i++ {
			s.Kill(i)
		}
		for i := 1; i <= 3; i++ {
			s.Start(i)
		}
		s.AwaitReady()
		s.AwaitSame()
		if got := s.Node(2).Table; got.History() != history || got.Index() <= index {
			t.Errorf("history %s at %d became %s at %d", history, index, got.History(), got.Index())
		}
		alice := s.Login(2, "alice")
		s.Eventually("bob is found to be gone", func() bool { return alice.Say("bob", "hello").Status == protocol.StatusNotListening })
		if _, _, err := s.Login(3, "bob").Listen(protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		if got := alice.Say("bob", "hello"); got.Status != protocol.StatusOK {
			t.Errorf("bob is back: %v", got)
		}
	})
}
