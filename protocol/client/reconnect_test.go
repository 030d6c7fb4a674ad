package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

func listenAs(state protocol.State, note string) protocol.ListenRequest {
	return protocol.ListenRequest{State: state, Note: note, Exclusive: true}
}

// prepare has the client listen and watch two others.
func prepare(t *testing.T, c *client.Client, p *outboundtest.Peer) {
	t.Helper()
	wait := doing(func() {
		p.Answer("LISTEN state=busy note=x mode=exclusive", "200 session=s1 index=10")
		p.Answer("WATCH ima=bob@example.com ima=carol@example.com",
			"100 ima=bob@example.com state=available since=2026-11-22T10:00:00Z index=5\n100 ima=carol@example.com state=deaf\n200 index=11")
	})
	if _, err := c.Listen(t.Context(), listenAs(protocol.Busy, "x")); err != nil {
		t.Error(err)
	}
	if now, err := c.Watch(t.Context(), address(t, "bob@example.com"), address(t, "carol@example.com")); err != nil || len(now) != 2 {
		t.Errorf("%v, %v", now, err)
	}
	wait()
}

// After a loss the client listens and watches as before, and tells only what
// is news.
func TestReconnect(t *testing.T) {
	var r record
	inBubble(t, r.into, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		prepare(t, c, p)
		check(t, "first", &r, &r.presences, `bob@example.com available "" 5`, `carol@example.com deaf "" 0`)
		s.refuse <- errors.New("nobody there")
		p.Say("* BYE status=503 :shutting down")
		p = <-s.conns
		p.Login()
		p.Answer("LISTEN state=busy note=x", "200 session=s2 index=20") // shared: another may have joined
		p.Answer("WATCH ima=bob@example.com ima=carol@example.com",
			"100 ima=bob@example.com state=available since=2026-11-22T10:00:00Z index=5\n100 ima=carol@example.com state=away since=2026-11-22T11:00:00Z index=19\n200 index=21")
		check(t, "after", &r, &r.presences, `bob@example.com available "" 5`, `carol@example.com deaf "" 0`, `carol@example.com away "" 19`)
		p.Say("* PRESENCE ima=bob@example.com state=busy note=y since=2026-11-22T12:00:00Z index=22")
		p.Say("* PRESENCE ima=bob@example.com state=deaf index=21")
		check(t, "change", &r, &r.presences, `bob@example.com available "" 5`, `carol@example.com deaf "" 0`, `carol@example.com away "" 19`, `bob@example.com busy "y" 22`)
		closeWith(t, c, p)
		if want := fmt.Sprint([]client.EventKind{client.Lost, client.Retrying, client.Connected}); fmt.Sprint(r.events) != want {
			t.Errorf("events %v, want %v", r.events, want)
		}
	})
}

// Pauses between attempts are random and grow to a minute; there is always one.
func TestReconnectPauses(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		const failures = 12
		for range failures {
			s.refuse <- errors.New("nobody there")
		}
		began := time.Now()
		_ = p.Conn.Close()
		p = <-s.conns
		if took := time.Since(began); took < 5*time.Second || took > failures*time.Minute {
			t.Errorf("%d failures in %v", failures, took)
		}
		p.Login()
		closeWith(t, c, p)
	})
}

// A change of password elsewhere ends it: to try again is of no use.
func TestEndsWhenLockedOut(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		p.Say("* BYE status=401 :the password was changed")
		<-c.Done()
		var refused *protocol.Error
		if err := c.Close(t.Context()); !errors.As(err, &refused) || refused.Status != protocol.StatusUnauthorized {
			t.Errorf("%v", err)
		}
		if _, err := c.Query(t.Context(), false, address(t, "bob@example.com")); !errors.As(err, &refused) {
			t.Errorf("%v", err)
		}
	})
}

// Who was displaced does not listen again of its own accord.
func TestDisplaced(t *testing.T) {
	var r record
	inBubble(t, r.into, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		prepare(t, c, p)
		p.Say("* UNLISTENED :another session listens")
		_ = p.Conn.Close()
		p = <-s.conns
		p.Login()
		p.Answer("WATCH ima=bob@example.com ima=carol@example.com", "100 ima=bob@example.com state=unknown\n100 ima=carol@example.com state=deaf\n200 index=1")
		closeWith(t, c, p)
	})
}

// MOVE: the new connection listens and watches before the old one is left,
// requests on the old one finish there, and nothing is told or shown twice.
func TestMove(t *testing.T) {
	var r record
	inBubble(t, r.into, func(t *testing.T, s *site, c *client.Client, old *outboundtest.Peer) {
		prepare(t, c, old)
		bob := address(t, "bob@example.com")
		sent := make(chan client.Report)
		go func() {
			report, err := c.Send(t.Context(), client.Message{To: []protocol.Address{bob}, ID: "x", Entity: client.Text("hi")})
			if err != nil {
				t.Error(err)
			}
			sent <- report
		}()
		pending := old.Want("SEND to=bob@example.com id=x {4}")
		old.Body("\r\nhi")

		old.Say("* MOVE to=node2.example.net:7999 within=30 :draining")
		p := <-s.conns
		if last := s.dialled[len(s.dialled)-1]; last != "node2.example.net:7999" {
			t.Errorf("moved to %s", last)
		}
		p.Login()
		listen := p.Want("LISTEN state=busy note=x")
		old.Say("* PRESENCE ima=carol@example.com state=busy since=2026-11-22T11:00:00Z index=30")
		p.Say("%s 200 session=s2 index=31", listen)
		p.Answer("WATCH ima=bob@example.com ima=carol@example.com", // the new node is behind
			"100 ima=bob@example.com state=available since=2026-11-22T10:00:00Z index=5\n100 ima=carol@example.com state=deaf\n200 index=29")
		p.Say("* PRESENCE ima=carol@example.com state=busy since=2026-11-22T11:00:00Z index=30")

		const message = "%s MESSAGE from=bob@example.com to=alice@example.com id=both time=2026-11-22T10:00:00Z {2}\r\nhi"
		_, _ = fmt.Fprintf(old.Conn, message, "m1")
		_, _ = fmt.Fprintf(p.Conn, message, "m2")
		if got := p.Hear(); got != "m2 200" {
			t.Errorf("on the new connection: %q", got)
		}
		var quit string
		for answers := 3; answers > 0; answers-- { // m1 anywhere before QUIT
			tag, rest, _ := cutSpace(old.Hear())
			switch {
			case tag == "m1" && rest == "200":
			case rest == "UNLISTEN":
				old.Say("%s 200 index=32", tag)
			case rest == "QUIT":
				quit = tag
			default:
				t.Errorf("on the old connection: %q %q", tag, rest)
			}
		}
		old.Say("%s 200 id=x", pending)
		if report := <-sent; report.Status != protocol.StatusOK {
			t.Errorf("the message on the old connection: %+v", report)
		}
		old.Say("%s 200", quit)
		old.Gone()
		check(t, "messages", &r, &r.messages, `bob@example.com both "hi"`)
		check(t, "presence", &r, &r.presences, `bob@example.com available "" 5`, `carol@example.com deaf "" 0`, `carol@example.com busy "" 30`)

		// The node that was left is gone; the next loss leads back to where MOVE led.
		s.refuse <- errors.New("nobody there")
		_ = p.Conn.Close()
		p = <-s.conns
		if last := s.dialled[len(s.dialled)-2:]; last[0] != "simp.example.net:7467" || last[1] != "node2.example.net:7999" {
			t.Errorf("dialled %q", last)
		}
		p.Login()
		p.Answer("LISTEN state=busy note=x", "200 session=s3 index=40")
		p.Answer("WATCH ima=bob@example.com ima=carol@example.com", "200 index=41")
		closeWith(t, c, p)
	})
}

func cutSpace(s string) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == ' ' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// Where no new connection comes about, the old one is kept to its end.
func TestMoveThatFails(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		for range 16 {
			s.refuse <- errors.New("nobody there")
		}
		p.Say("* MOVE within=3 :draining")
		time.Sleep(5 * time.Second)
		wait := doing(func() { p.Answer("QUERY ima=bob@example.com", "100 ima=bob@example.com state=deaf\n200 index=1") })
		if _, err := c.Query(t.Context(), false, address(t, "bob@example.com")); err != nil {
			t.Error(err)
		}
		wait()
		for len(s.refuse) > 0 {
			<-s.refuse
		}
		closeWith(t, c, p)
	})
}

// A silent server is asked for a sign of life, and given up without one.
func TestSilence(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		began := time.Now()
		if got := p.Hear(); got != "ping PING" || time.Since(began) != 330*time.Second {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		p.Say("ping 200")
		began = time.Now()
		if got := p.Hear(); got != "ping PING" || time.Since(began) != 330*time.Second {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		p.Gone()
		if took := time.Since(began); took != 360*time.Second {
			t.Errorf("given up after %v", took)
		}
		p = <-s.conns
		p.Login()
		closeWith(t, c, p)
	})
}

// What is asked while there is no connection is asked on the next one.
func TestAskedAgain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		wait := doing(func() {
			p.Want("QUERY ima=bob@example.com")
			_ = p.Conn.Close()
			p = <-s.conns
			p.Login()
			p.Answer("QUERY ima=bob@example.com", "100 ima=bob@example.com state=deaf\n200 index=1")
		})
		if got, err := c.Query(t.Context(), false, address(t, "bob@example.com")); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
		wait()
		closeWith(t, c, p)
	})
}

// STALE and FRESH are told in their order with presence.
func TestStale(t *testing.T) {
	var r record
	inBubble(t, r.into, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		p.Say("* STALE :cut off")
		p.Say("* FRESH index=7")
		synctest.Wait()
		if want := fmt.Sprint([]client.EventKind{client.Stale, client.Fresh}); fmt.Sprint(r.events) != want {
			t.Errorf("%v", r.events)
		}
		closeWith(t, c, p)
	})
}

// A message that a slow program has not taken yet is answered before QUIT.
func TestCloseAnswersFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := newSite(t)
		config := s.config()
		config.OnMessage = func(context.Context, *protocol.Message) error { <-release; return nil }
		c, p := s.open(config, (*outboundtest.Peer).Login)
		_, _ = fmt.Fprint(p.Conn, "m1 MESSAGE from=bob@example.com to=alice@example.com id=x time=2026-11-22T10:00:00Z {2}\r\nhi")
		synctest.Wait()
		wait := doing(func() {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		close(release)
		if got := p.Hear(); got != "m1 200" {
			t.Errorf("heard %q", got)
		}
		p.Quit()
		wait()
	})
}
