package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// record keeps what Config's functions were told.
type record struct {
	mu        sync.Mutex
	messages  []string
	presences []string
	events    []client.EventKind
}

func (r *record) into(config *client.Config) {
	config.OnMessage = func(_ context.Context, m *protocol.Message) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.messages = append(r.messages, fmt.Sprintf("%s %s %q", m.From, m.ID, m.Entity))
		return nil
	}
	config.OnPresence = func(p protocol.Presence) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.presences = append(r.presences, fmt.Sprintf("%s %s %q %d", p.Address, p.State, p.Note, p.Index))
	}
	config.OnEvent = func(e client.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e.Kind)
	}
}

// told waits until nothing more happens, and checks what was told so far.
func check(t *testing.T, what string, r *record, got *[]string, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(*got, want) {
		t.Errorf("%s: %q; want %q", what, *got, want)
	}
}

// inBubble opens a client that has logged in, and closes it in the end.
func inBubble(t *testing.T, change func(*client.Config), test func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		if change != nil {
			change(&config)
		}
		c, p := s.open(config, (*outboundtest.Peer).Login)
		test(t, s, c, p)
	})
}

// closeWith closes c while p plays its part.
func closeWith(t *testing.T, c *client.Client, p *outboundtest.Peer) {
	t.Helper()
	synctest.Wait()
	done := make(chan struct{})
	go func() { defer close(done); p.Quit() }()
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	<-done
	if !errors.Is(c.Err(), client.ErrClosed) {
		t.Errorf("Err after Close: %v", c.Err())
	}
}

// doing runs a request while the test plays the server.
func doing(f func()) (wait func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	return func() { <-done }
}

func TestRequests(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		ctx, bob := t.Context(), address(t, "bob@example.com")
		note := "at lunch"
		all, _ := protocol.ParsePattern("*")
		for _, step := range []struct {
			request, response string
			do                func() (any, error)
			want              string
		}{
			{`LISTEN state=busy note="do not disturb" mode=exclusive`, "200 session=n1.7.42 index=1041",
				func() (any, error) {
					return c.Listen(ctx, protocol.ListenRequest{State: protocol.Busy, Note: "do not disturb", Exclusive: true})
				}, "{n1.7.42 1041}"},
			{`STATE state=away note="at lunch"`, "200 index=1042", func() (any, error) { return c.SetState(ctx, protocol.Away, &note) }, "1042"},
			{"STATE state=available", "200 index=1043", func() (any, error) { return c.SetState(ctx, protocol.Available, nil) }, "1043"},
			{"UNLISTEN", "200 index=1044", func() (any, error) { return c.Unlisten(ctx) }, "1044"},
			{"QUERY ima=bob@example.com fresh=yes", "100 ima=bob@example.com state=unknown\n200 index=9",
				func() (any, error) { got, err := c.Query(ctx, true, bob); return got[0].State, err }, "unknown"},
			{"ACL", "100 who=* message=deny\n100 who=@x presence=allow\n200",
				func() (any, error) {
					r, err := c.Rules(ctx)
					return fmt.Sprint(len(r), r[0].Message, r[1].Presence), err
				}, "2 deny allow"},
			{"ACL who=* message=deny presence=allow", "200",
				func() (any, error) {
					return nil, c.SetRule(ctx, protocol.Rule{Who: all, Message: protocol.Deny, Presence: protocol.Allow})
				}, "<nil>"},
			{"ACL who=*", "200", func() (any, error) { return nil, c.SetRule(ctx, protocol.Rule{Who: all}) }, "<nil>"},
			{"CONTACT", `100 ima=bob@example.com name="Bob B." group="R & D"` + "\n200", func() (any, error) { return c.Contacts(ctx) }, "[{bob@example.com Bob B. R & D}]"},
			{`CONTACT ima=bob@example.com name="Bob \"B\""`, "200",
				func() (any, error) {
					return nil, c.SetContact(ctx, protocol.Contact{Address: bob, Name: `Bob "B"`})
				}, "<nil>"},
			{"CONTACT ima=bob@example.com remove=yes", "200", func() (any, error) { return nil, c.RemoveContact(ctx, bob) }, "<nil>"},
			{"WATCHERS", "100 ima=bob@example.com\n200 partial=yes",
				func() (any, error) {
					by, partial, err := c.Watchers(ctx)
					return fmt.Sprint(by, partial), err
				}, "[bob@example.com] true"},
			{"PING", "200", func() (any, error) { return c.Ping(ctx) }, "0s"},
			{"PASSWD data=Y29ycmVjdCBob3JzZQBuZXc=", "200", func() (any, error) { return nil, c.SetPassword(ctx, "new") }, "<nil>"},
			{"UNLISTEN", "409 :you do not listen", func() (any, error) { _, err := c.Unlisten(ctx); return err, nil }, "409 you do not listen"},
		} {
			wait := doing(func() { p.Answer(step.request, step.response) })
			got, err := step.do()
			wait()
			if fmt.Sprint(got) != step.want || err != nil {
				t.Errorf("%s: %v, %v; want %s", step.request, got, err, step.want)
			}
		}
		closeWith(t, c, p)
	})
}

func TestMessages(t *testing.T) {
	var r record
	inBubble(t, func(config *client.Config) {
		r.into(config)
		accept := config.OnMessage
		config.OnMessage = func(ctx context.Context, m *protocol.Message) error {
			switch m.ID {
			case "refused":
				return errors.New("not today")
			case "silent":
				return client.ErrNoAnswer
			}
			return accept(ctx, m)
		}
	}, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		const message = "MESSAGE from=bob@example.com to=alice@example.com id=%s time=2026-11-22T10:00:00.123Z {4}\r\n\r\n%s"
		send := func(tag, id, text string) { _, _ = fmt.Fprintf(p.Conn, tag+" "+message, id, text) }
		expect := func(want string) {
			if got := p.Hear(); got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		}
		send("m1", "x1", "hi")
		expect("m1 200")
		send("m2", "x1", "hi") // a repeat is accepted and not shown
		expect("m2 200")
		send("m3", "x1", "ho")
		expect("m3 409 :another message had this id")
		send("m4", "refused", "hi")
		expect("m4 486 :not today")
		send("m5", "silent", "hi")
		send("m6", "x2", "hi")
		expect("m6 200")
		p.Say("m7 MESSAGE from=bob to=alice@example.com id=x {0}")
		expect("m7 400 :from, to, id and content are required")
		p.Say("p1 PING")
		expect("p1 200")
		p.Say("q1 DANCE")
		expect("q1 405 :this client does not know DANCE")
		p.Say("* DANCE")
		time.Sleep(protocol.RepeatWindow + time.Second)
		send("m8", "x1", "hi")
		for got := p.Hear(); got != "m8 200"; got = p.Hear() {
			if got != "ping PING" {
				t.Errorf("heard %q", got)
			}
		}
		check(t, "shown", &r, &r.messages, `bob@example.com x1 "\r\nhi"`, `bob@example.com x2 "\r\nhi"`, `bob@example.com x1 "\r\nhi"`)
		closeWith(t, c, p)
	})
}

func TestSend(t *testing.T) {
	bob, carol := address(t, "bob@example.com"), address(t, "Carol@example.com")
	for _, c := range []struct {
		name             string
		to               []protocol.Address
		request, respond string
		want             string
	}{
		{"delivered", []protocol.Address{bob}, "SEND to=bob@example.com id=x {4}", "200 id=x :delivered", "200 [{bob@example.com {200 delivered}}]"},
		{"deaf", []protocol.Address{bob}, "SEND to=bob@example.com id=x {4}", "480 id=x :bob@example.com is not listening", "480 [{bob@example.com {480 bob@example.com is not listening}}]"},
		{"one for all", []protocol.Address{bob, carol, bob}, "SEND to=bob@example.com to=Carol@example.com to=bob@example.com id=x {4}",
			"413 id=x :too many", "413 [{bob@example.com {413 too many}} {Carol@example.com {413 too many}}]"},
		{"mixed", []protocol.Address{bob, carol}, "SEND to=bob@example.com to=Carol@example.com id=x {4}",
			"100 to=bob@example.com status=200\n100 to=carol@example.com status=486 :busy\n207 id=x", "207 [{bob@example.com {200 }} {Carol@example.com {486 busy}}]"},
		{"one missing", []protocol.Address{bob, carol}, "SEND to=bob@example.com to=Carol@example.com id=x {4}",
			"100 to=bob@example.com status=480\n207 id=x", "207 [{bob@example.com {480 }} {Carol@example.com {201 }}]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *site, cl *client.Client, p *outboundtest.Peer) {
				wait := doing(func() {
					tag := p.Want(c.request)
					p.Body("\r\nhi")
					p.Respond(tag, c.respond)
				})
				report, err := cl.Send(t.Context(), client.Message{To: c.to, ID: "x", Entity: client.Text("hi")})
				wait()
				if got := fmt.Sprintf("%d %v", report.Status, each(report)); got != c.want || err != nil {
					t.Errorf("%s, %v; want %s", got, err, c.want)
				}
				closeWith(t, cl, p)
			})
		})
	}
}

func each(r client.Report) []string {
	var all []string
	for _, one := range r.Results {
		all = append(all, fmt.Sprintf("{%s {%d %s}}", one.To, one.Status, one.Text))
	}
	return all
}

// Messages are sent in the order in which they were started, and may be answered
// in any order.
func TestStartSend(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		to := []protocol.Address{address(t, "bob@example.com")}
		var all []*client.Sending
		for i := range 3 {
			sending, err := c.StartSend(t.Context(), client.Message{To: to, ID: fmt.Sprint("m", i), Entity: client.Text("x")})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, sending)
		}
		var tags []string
		for i := range 3 {
			tags = append(tags, p.Want(fmt.Sprintf("SEND to=bob@example.com id=m%d {3}", i)))
			p.Body("\r\nx")
		}
		p.Say("%s 480 id=m2 :not listening", tags[2])
		p.Say("%s 200 id=m1", tags[1])
		p.Say("%s 201 id=m0", tags[0])
		for i, want := range []protocol.Status{201, 200, 480} {
			if report, err := all[i].Await(t.Context()); err != nil || report.Status != want || report.Results[0].To != to[0] {
				t.Errorf("m%d: %+v, %v", i, report, err)
			}
		}
		big, err := c.StartSend(t.Context(), client.Message{To: to, Entity: make([]byte, 1<<20)})
		if err != nil {
			t.Fatal(err)
		}
		if report, err := big.Await(t.Context()); err != nil || report.Status != protocol.StatusTooLarge {
			t.Errorf("%+v, %v", report, err)
		}
		if _, err := c.StartSend(t.Context(), client.Message{Entity: client.Text("x")}); !errors.Is(err, client.ErrNotSent) {
			t.Errorf("without a recipient: %v", err)
		}
		closeWith(t, c, p)
	})
}

// A SEND whose connection ends first is in doubt, and repeated only if asked;
// what else than 200 the repeat is told, ends no doubt.
func TestSendInDoubt(t *testing.T) {
	bob := address(t, "bob@example.com")
	for _, c := range []struct {
		repeats int
		again   string
		want    protocol.Status
	}{{0, "", 201}, {1, "200 id=x", 200}, {1, "480 id=x", 201}} {
		inBubble(t, nil, func(t *testing.T, s *site, cl *client.Client, p *outboundtest.Peer) {
			wait := doing(func() {
				p.Want("SEND to=bob@example.com id=x timeout=20 {4}")
				p.Body("\r\nhi")
				_ = p.Conn.Close()
				p = <-s.conns
				p.Login()
				if c.again != "" {
					tag := p.Want("SEND to=bob@example.com id=x timeout=20 {4}")
					p.Body("\r\nhi")
					p.Say("%s %s", tag, c.again)
				}
			})
			report, err := cl.Send(t.Context(), client.Message{To: []protocol.Address{bob}, ID: "x", Entity: client.Text("hi"), Retries: c.repeats, Timeout: 20 * time.Second})
			wait()
			if report.Status != c.want || err != nil {
				t.Errorf("%+v: %v, %v", c, report, err)
			}
			closeWith(t, cl, p)
		})
	}
}

func TestSendEndsWithItsContext(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		out := client.Message{To: []protocol.Address{address(t, "bob@example.com")}, ID: "x", Entity: client.Text("hi")}
		wait := doing(func() { p.Want("SEND to=bob@example.com id=x {4}"); p.Body("\r\nhi") })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		report, err := c.Send(ctx, out)
		wait()
		if report.Status != protocol.StatusIndeterminate || err != nil {
			t.Errorf("%v, %v", report, err)
		}
		if _, err := c.Send(ctx, out); !errors.Is(err, client.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the context's end: %v", err)
		}
		out.Entity = make([]byte, 65537)
		if report, err := c.Send(t.Context(), out); report.Status != protocol.StatusTooLarge || err != nil {
			t.Errorf("too large: %v, %v", report.Status, err)
		}
		out.To = slices.Repeat(out.To, 300)
		out.Entity = nil
		if _, err := c.Send(t.Context(), out); !errors.Is(err, client.ErrNotSent) {
			t.Errorf("too many: %v", err)
		}
		closeWith(t, c, p)
	})
}
