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
	"simpd/protocol/internal/outbound/outboundtest"
)

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
			inBubble(t, nil, func(t *testing.T, s *site, cl *client.Client, p *outboundtest.Peer) {
				said := make(chan int, 1)
				go func() {
					tag := strings.Fields(p.Hear())[0]
					n := 0
					for ; n < 100_000; n++ {
						line := c.line
						if strings.Contains(line, "%d") {
							line = fmt.Sprintf(line, n)
						}
						if _, err := fmt.Fprintf(p.Conn, "%s %s\r\n", tag, line); err != nil {
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
	inBubble(t, r.into, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		prepare(t, c, p)
		check(t, "first", &r, &r.presences, `bob@example.com available "" 5`, `carol@example.com deaf "" 0`)
		for i := range 1000 {
			p.Say("* PRESENCE ima=u%d@example.com state=busy index=%d", i, 20+i)
		}
		p.Say("* PRESENCE ima=carol@example.com state=busy index=5000")
		check(t, "all", &r, &r.presences, `bob@example.com available "" 5`, `carol@example.com deaf "" 0`, `carol@example.com busy "" 5000`)
		closeWith(t, c, p)
	})
}

// A server that does not read the answers to what it asks is left.
func TestClientsAnswersAreNotRead(t *testing.T) {
	for _, line := range []string{"p PING\r\n", "x WHAT\r\n", "m MESSAGE\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			c, p := s.open(s.config(), (*outboundtest.Peer).Login)
			s.refuse <- io.EOF
			if n := p.Flood(line, 1<<20); n == 1<<20 {
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
		c, p := s.open(config, (*outboundtest.Peer).Login)
		w := bufio.NewWriter(p.Conn)
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
