package server

import (
	"context"
	"slices"
	"testing"
	"time"

	"simpd/protocol"
)

// mutePatience is how long the site in memory waits for mute.example, which
// never says anything.
const mutePatience = 2 * time.Second

func asksMute(all []protocol.Address) bool {
	return slices.ContainsFunc(all, func(a protocol.Address) bool { return a.Domain() == "mute.example" })
}

func awaitMute(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(mutePatience):
	}
}

// Questions to other sites that are silent hold up nothing that comes after
// them, and take effect in their place all the same.
func TestMuteSitesHoldUpNothing(t *testing.T) {
	for _, verb := range []string{"QUERY", "WATCH"} {
		play(t, nil, func(s *stage) {
			bob, alice := s.listen("bob"), s.login("alice")
			began := time.Now()
			for i := range 4 {
				alice.send("q%d %s ima=dave%d@mute.example ima=bob@example.com", i, verb, i)
			}
			alice.send("s SEND to=bob@example.com timeout=1 {4}\r\n\r\nhi")
			tag, _ := bob.message()
			bob.send("%s 200", tag)
			alice.expect("s 200 id=<any> :<any>")
			alice.send("u UNWATCH")
			alice.expect("u 200")
			if took := time.Since(began); took > 0 {
				t.Errorf("%s: others waited %v", verb, took)
			}
			for range 4 {
				for _, part := range []string{"100 ima=<any> state=deaf", "100 ima=bob@example.com state=available since=<any> index=<any>", "200 index=<any>"} {
					alice.expect("<any> %s", part)
				}
			}
			if took := time.Since(began); took != mutePatience {
				t.Errorf("%s: the answers took %v", verb, took)
			}
			alice.send("w WATCHERS")
			alice.expect("w 200")
		})
	}
}

// A report about a user of a silent site holds up nothing that comes after it.
func TestReportsHoldUpNothing(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		began := time.Now()
		alice.send("r REPORT ima=dave@mute.example reason=spam :buy this")
		alice.send("s SEND to=bob@example.com timeout=1 {4}\r\n\r\nhi")
		tag, _ := bob.message()
		bob.send("%s 200", tag)
		alice.expect("s 200 id=<any> :<any>")
		if took := time.Since(began); took > 0 {
			t.Errorf("others waited %v", took)
		}
		alice.expect("r 200")
		if took := time.Since(began); took != mutePatience || len(s.site.reports) != 1 || s.site.reports[0].Text != "buy this" {
			t.Errorf("after %v: %+v", took, s.site.reports)
		}
	})
}

// What another site asks in place of messages that it must not send holds up none of
// its requests.
func TestFreshQuestionsOfSitesHoldUpNothing(t *testing.T) {
	h, call := federated(t, &partners{verdict: func(string) error { return nil }})
	c := call("example.com")
	c.dialback("two.example", "200 domain=two.example")
	h.site.isMinority.Store(true)
	for i := range 3 {
		c.send("q%d QUERY ima=alice@example.com fresh=yes by=eve@two.example", i)
	}
	c.send("p QUERY ima=alice@example.com by=fred@two.example")
	c.expect("p 100 <rest>")
	c.expect("p 200 <rest>")
	for range 3 {
		c.expect("<any> 100 <rest>")
		c.expect("<any> 200 <rest>")
	}
}

// QUIT is answered after the questions before it.
func TestQuitAwaitsMuteSites(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice := s.login("alice")
		alice.send("q QUERY ima=dave@mute.example\r\nw WATCH ima=dave@mute.example\r\nz QUIT")
		for range 2 {
			alice.expect("<any> 100 ima=dave@mute.example state=deaf")
			alice.expect("<any> 200 index=<any>")
		}
		alice.expect("z 200")
		alice.expectEnd()
	})
}

// However many questions one connection asks, each is answered; and a lost
// connection waits for none.
func TestManyQuestionsToMuteSites(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice := s.login("alice")
		for i := range 600 {
			alice.send("q%d QUERY ima=dave@mute.example", i)
		}
		for range 600 {
			alice.expect("<any> 100 ima=dave@mute.example state=deaf")
			alice.expect("<any> 200 index=<any>")
		}
		carol := s.login("carol")
		for i := range 600 {
			carol.send("q%d QUERY ima=dave@mute.example", i)
		}
		_ = carol.Close()
	})
}

// A SEND keeps its time behind what is slow: it is answered when that is up,
// and not begun any more.
func TestSendKeepsItsTimeBehindSlowRequests(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		slow := make(chan struct{})
		s.site.mu.Lock()
		s.site.slow = slow
		s.site.mu.Unlock()
		began := time.Now()
		alice.send("l LISTEN\r\ns SEND to=bob@example.com id=x timeout=2 {4}\r\n\r\nhi")
		alice.send("b SEND to=bob@example.com id=y timeout=99 {4}\r\n\r\nhi")
		alice.send("c SEND to=bob@example.com id=z timeout=60 {4}\r\n\r\nhi")
		alice.expect("s 503 id=x :%s", errNotBegun.Text)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("answered after %v", took)
		}
		close(slow)
		alice.expect("l 200 session=<any> index=<any>")
		alice.expect("b 400 id=y :invalid timeout 99: must be 1 to 60 seconds")
		tag, _ := bob.message()
		bob.send("%s 200", tag)
		alice.expect("c 200 id=z :<any>")
		bob.expectNothing(time.Minute)
	})
}
