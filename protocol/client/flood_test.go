package client_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
)

// flood says a line again and again until the other side has closed the
// connection, and returns how often; at most a number of times.
func (p *peer) flood(line string, most int) (said int) {
	for said < most {
		if _, err := io.WriteString(p.conn, line); err != nil {
			return said
		}
		said++
		synctest.Wait()
	}
	return said
}

// 100 lines that were not asked for end the connection: what was handed over is
// in doubt, what was not is not delivered.
func TestRelayIsAnsweredTooMuch(t *testing.T) {
	long := strings.Repeat(" a=", 1300)
	for name, line := range map[string]string{
		"of the message": "100 to=bob@two.example status=480", "long": "100" + long, "empty": "100",
	} {
		t.Run(name, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				said := make(chan int, 1)
				a.put(home, func(p *peer) {
					a.admit(p)
					tag, _, _ := strings.Cut(p.hear(), " ")
					said <- p.flood(tag+" "+line+"\r\n", 10_000)
				})
				var all []<-chan protocol.Outcome
				for i := range 300 {
					all = append(all, a.start("alice@one.example", "bob@two.example", fmt.Sprint("m", i), 10*time.Second))
				}
				if n := <-said; n > 2 {
					t.Errorf("%d lines were taken", n)
				}
				count := map[protocol.Status]int{}
				for _, w := range all {
					count[(<-w).Status]++
				}
				if count[201] != 225 || count[502] != 75 {
					t.Errorf("%v", count)
				}
			})
		})
	}
}

// An answer about one address has one line about it, once, in any order.
func TestRelayWatchAnswers(t *testing.T) {
	const bob, carol = "100 ima=bob@two.example state=busy\n", "100 ima=carol@two.example state=away\n"
	for name, c := range map[string]struct{ answer, want string }{
		"in order":     {bob + carol + "200", "bob busy carol away"},
		"turned round": {carol + bob + "200", "bob busy carol away"},
		"one missing":  {carol + "200", "bob unknown carol away"},
		"twice":        {bob + bob + "200", "bob unknown carol unknown"},
		"one more":     {bob + carol + "100 ima=dave@two.example state=busy\n200", "bob unknown carol unknown"},
		"a stranger":   {"100 ima=bob@three.example state=busy\n" + carol + "200", "bob unknown carol away"},
		"other case":   {"100 ima=BOB@two.example state=busy\n" + carol + "200", "bob busy carol away"},
	} {
		t.Run(name, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				ready := make(chan bool)
				a.put(home, func(p *peer) {
					<-ready
					a.admit(p)
					p.answerAll(func(verb, line string) string {
						if strings.Index(line, "ima=bob") > strings.Index(line, "ima=carol") {
							return "503" // the order of what is asked is not given; it is asked for again
						}
						return c.answer
					})
				})
				states := map[string]protocol.State{}
				tell := func(p protocol.Presence) { states[p.Address.Local()] = p.State }
				for _, of := range []string{"bob@two.example", "carol@two.example"} {
					a.relay.Watch(address(t, "alice@one.example"), address(t, of), tell)
				}
				close(ready)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if got := fmt.Sprint("bob ", states["bob"], " carol ", states["carol"]); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

// Presence that is watched is read as fast as a busy site changes, and no
// faster: a flood costs the time of a few hundred lines a second. Messages to
// other sites do not notice.
func TestRelayReadsFloodsSlowly(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		var w watcher
		a.relay.Watch(address(t, "alice@one.example"), address(t, "bob@two.example"), w.tell)
		w.hears(t, "bob@two.example available")
		s.mu.Lock()
		for i := range 20_000 {
			fmt.Fprintf(s.here.conn, "* PRESENCE ima=bob@two.example state=%s index=%d by=alice@one.example\r\n", []string{"busy", "away"}[i%2], 10+i)
		}
		s.mu.Unlock()
		time.Sleep(15 * time.Second)
		if got := w.heard(); strings.Count(got, ",") > 18_000 {
			t.Errorf("told %d times in 15 s", strings.Count(got, ","))
		}
		time.Sleep(10 * time.Second)
		if got := w.heard(); !strings.HasSuffix(got, "bob@two.example away") {
			t.Errorf("in the end %.100q", got)
		}
	})
}

// A client takes no more 100 lines than it asked for.
func TestClientIsAnsweredTooMuch(t *testing.T) {
	bob := "bob@example.com"
	for name, c := range map[string]struct {
		ask  func(context.Context, *client.Client) error
		line string
		most int
	}{
		"QUERY": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Query(ctx, false, address(t, bob))
			return err
		}, "100 ima=%d@example.com state=deaf", 1},
		"WATCH": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Watch(ctx, address(t, bob))
			return err
		}, "100 ima=bob@example.com state=deaf", 1},
		"SEND": {func(ctx context.Context, c *client.Client) error {
			r, err := c.Send(ctx, client.Message{To: []protocol.Address{address(t, bob)}, ID: "x"})
			if err == nil && r.Status == 201 {
				err = client.ErrLost
			}
			return err
		}, "100 to=%d@example.com status=200", 1},
		"ACL":      {func(ctx context.Context, c *client.Client) error { _, err := c.Rules(ctx); return err }, "100 who=%d@example.com", protocol.MaxRules},
		"CONTACT":  {func(ctx context.Context, c *client.Client) error { _, err := c.Contacts(ctx); return err }, "100 ima=%d@example.com", protocol.MaxContacts},
		"contacts": {func(ctx context.Context, c *client.Client) error { _, err := c.WatchContacts(ctx); return err }, "100 ima=%d@example.com state=deaf", protocol.MaxContacts},
		"WATCHERS": {func(ctx context.Context, c *client.Client) error { _, _, err := c.Watchers(ctx); return err },
			"100 ima=%d@example.com" + strings.Repeat(" a=", 1300), 16 << 20 / (1300 * 35)},
		"LISTEN": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Listen(ctx, protocol.ListenRequest{})
			return err
		}, "100", 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *site, cl *client.Client, p *peer) {
				said := make(chan int, 1)
				go func() {
					tag := strings.Fields(p.hear())[0]
					n := 0
					for ; n < 100_000; n++ {
						line := c.line
						if strings.Contains(line, "%d") {
							line = fmt.Sprintf(line, n)
						}
						if _, err := fmt.Fprintf(p.conn, "%s %s\r\n", tag, line); err != nil {
							break
						}
					}
					said <- n
				}()
				s.refuse <- io.EOF
				s.refuse <- io.EOF
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := c.ask(ctx, cl); err == nil {
					t.Error("it was taken for an answer")
				}
				if n := <-said; n < c.most || n > c.most+60 {
					t.Errorf("%d lines were taken; %d are due", n, c.most)
				}
				_ = cl.Close(ctx)
			})
		})
	}
}

// Of presence, only that of the watched is told and kept.
func TestClientIsToldOfStrangers(t *testing.T) {
	var r record
	inBubble(t, r.into, func(t *testing.T, s *site, c *client.Client, p *peer) {
		prepare(t, c, p)
		check(t, "first", &r, &r.presences, `bob@example.com available "" 5`, `carol@example.com deaf "" 0`)
		for i := range 1000 {
			p.say("* PRESENCE ima=u%d@example.com state=busy index=%d", i, 20+i)
		}
		p.say("* PRESENCE ima=carol@example.com state=busy index=5000")
		check(t, "all", &r, &r.presences, `bob@example.com available "" 5`, `carol@example.com deaf "" 0`, `carol@example.com busy "" 5000`)
		closeWith(t, c, p)
	})
}

// A server that does not read the answers to what it asks is left.
func TestClientsAnswersAreNotRead(t *testing.T) {
	for _, line := range []string{"p PING\r\n", "x WHAT\r\n", "m MESSAGE\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			c, p := s.open(s.config(), (*peer).login)
			s.refuse <- io.EOF
			if n := p.flood(line, 1<<20); n == 1<<20 {
				t.Errorf("%q was answered %d times", line, n)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = c.Close(ctx)
		})
	}
}

// Events that an application does not take do not pile up; it is told how it
// ended.
func TestEventsPileUp(t *testing.T) {
	hold := make(chan struct{})
	var told []client.EventKind
	slow := func(config *client.Config) {
		config.OnEvent = func(e client.Event) {
			<-hold
			told = append(told, e.Kind)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		hold = make(chan struct{})
		s := newSite(t)
		config := s.config()
		slow(&config)
		c, p := s.open(config, (*peer).login)
		w := bufio.NewWriter(p.conn)
		for range 20_000 {
			fmt.Fprintf(w, "* STALE :%s\r\n* FRESH index=1\r\n", strings.Repeat("x", 1000))
		}
		_ = w.Flush()
		close(hold)
		closeWith(t, c, p)
		if n := len(told); n > 100 || told[n-1] != client.Fresh || told[n-2] != client.Stale {
			t.Errorf("%d events were told, in the end %v", n, told[max(0, n-3):])
		}
	})
}
