//go:build linux

package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"simpd/cmd/simpbench/relay"
)

// record is an Events that keeps what it was told.
type record struct {
	ready, messages, told int
	results, done         []int
	gone                  error
	body                  []byte
}

func (r *record) Ready(*Client)                     { r.ready++ }
func (r *record) Result(_ *Client, _ uint64, s int) { r.results = append(r.results, s) }
func (r *record) Message(_ *Client, body []byte)    { r.messages++; r.body = bytes.Clone(body) }
func (r *record) Done(_ *Client, s int)             { r.done = append(r.done, s) }
func (r *record) Told(*Client)                      { r.told++ }
func (r *record) Gone(_ *Client, err error)         { r.gone = err }
func (r *record) sum(s int) (n int)                 { return count(r.results, s) + count(r.done, s) }
func count(all []int, one int) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

func newLoop(t *testing.T) *Loop {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func until(t *testing.T, l *Loop, what string, done func() bool) {
	t.Helper()
	if err := l.Run(t.Context(), 10*time.Second, done); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// subjects starts both servers, each with the dialect for it.
func subjects(t *testing.T) map[string]func(*testing.T) (Dialect, netip.AddrPort) {
	p, err := NewPassword()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(*testing.T) (Dialect, netip.AddrPort){
		"simp": func(t *testing.T) (Dialect, netip.AddrPort) {
			at := newSite(t, p, "")
			return &SIMP{Domain: "bench.example", Password: p}, at
		},
		"relay": func(t *testing.T) (Dialect, netip.AddrPort) { return Relay{}, newRelay(t) },
	}
}

func newRelay(t *testing.T) netip.AddrPort {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = relay.New().Serve(l) })
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

func enter(t *testing.T, l *Loop, d Dialect, n int, at netip.AddrPort, e Events) *Client {
	t.Helper()
	c, err := l.Login(d, n, at, netip.MustParseAddr("127.0.0.2"), e)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClients(t *testing.T) {
	for name, start := range subjects(t) {
		t.Run(name, func(t *testing.T) {
			d, at := start(t)
			l := newLoop(t)
			defer l.Close() // before the server waits for its connections
			var r record
			alice, bob := enter(t, l, d, 1, at, &r), enter(t, l, d, 2, at, &r)
			until(t, l, "login", func() bool { return r.ready == 2 })

			body := bytes.Repeat([]byte("x"), 70_000) // more than a socket takes at once
			alice.Send(bob.Name, body)
			until(t, l, "send", func() bool { return r.sum(200) == 1 && r.messages == 1 })
			if !bytes.Equal(r.body, body) {
				t.Errorf("%d octets came, of %d", len(r.body), len(body))
			}
			bob.Send(d.User(3), []byte("anybody?"))
			until(t, l, "send to nobody", func() bool { return r.sum(480) == 1 })

			bob.Watch(alice.Name)
			until(t, l, "watch", func() bool { return r.sum(200) == 2 })
			alice.Publish(1)
			until(t, l, "publish", func() bool { return r.sum(200) == 3 && r.told == 1 })
		})
	}
}

func TestPipelining(t *testing.T) {
	for name, start := range subjects(t) {
		t.Run(name, func(t *testing.T) {
			d, at := start(t)
			l := newLoop(t)
			defer l.Close()
			var r record
			alice, bob := enter(t, l, d, 1, at, &r), enter(t, l, d, 2, at, &r)
			until(t, l, "login", func() bool { return r.ready == 2 })
			const many = 300
			for range many {
				alice.Send(bob.Name, make([]byte, 1024))
			}
			until(t, l, "send", func() bool { return r.sum(200) == many && r.messages == many })
		})
	}
}

// Clients that sign acknowledge a message once they have verified it, and end
// where it was altered.
func TestSigningClients(t *testing.T) {
	for _, alters := range []bool{false, true} {
		p, err := NewPassword()
		if err != nil {
			t.Fatal(err)
		}
		refuse := ""
		if alters {
			refuse = altersMessages
		}
		at, d := newSite(t, p, refuse), &SIMP{Domain: "bench.example", Password: p}
		l := newLoop(t)
		defer l.Close()
		var r record
		alice, bob := enter(t, l, d, 1, at, &r), enter(t, l, d, 2, at, &r)
		until(t, l, "login", func() bool { return r.ready == 2 })
		for _, c := range []*Client{alice, bob} {
			if err := c.StartSigning(); err != nil {
				t.Fatal(err)
			}
		}
		until(t, l, "the keys", func() bool { return r.sum(200) == 2 })
		for range 5 {
			alice.Send(bob.Name, []byte("hello"))
		}
		if alters {
			until(t, l, "the end", func() bool { return r.gone != nil })
			continue
		}
		until(t, l, "the messages", func() bool { return r.sum(200) == 7 && r.messages == 5 })
	}
}

func TestRefusedLoginIsToldAsTheServerSaysIt(t *testing.T) {
	p, err := NewPassword()
	if err != nil {
		t.Fatal(err)
	}
	const text = "this node is draining"
	at := newSite(t, p, text)
	l := newLoop(t)
	defer l.Close()
	var r record
	enter(t, l, &SIMP{Domain: "bench.example", Password: p}, 1, at, &r)
	until(t, l, "refusal", func() bool { return r.gone != nil })
	if why, ok := errors.AsType[*Refusal](r.gone); !ok || why.Status != 503 || why.Text != text {
		t.Error(r.gone)
	}
}

func TestAnotherPasswordIsRefused(t *testing.T) {
	right, err1 := NewPassword()
	wrong, err2 := NewPassword()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	at := newSite(t, right, "")
	l := newLoop(t)
	defer l.Close()
	var r record
	enter(t, l, &SIMP{Domain: "bench.example", Password: wrong}, 1, at, &r)
	until(t, l, "refusal", func() bool { return r.gone != nil })
	if why, ok := errors.AsType[*Refusal](r.gone); !ok || why.Status != 401 || why.Verb != "AUTH" {
		t.Error(r.gone)
	}
}

func TestLoginOverTLS(t *testing.T) {
	p, err := NewPassword()
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := newSiteOn(t, tls.NewListener(l, &tls.Config{Certificates: web.TLS.Certificates}), p, "")
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	d := &SIMP{Domain: "bench.example", Password: p}
	c := &tls.Config{RootCAs: roots, ServerName: "example.com"}
	s, err := LoginSecure(t.Context(), d, 1, at, netip.MustParseAddr("127.0.0.2"), c)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := LoginSecure(t.Context(), d, 1, at, netip.Addr{}, &tls.Config{ServerName: "example.com"}); err == nil {
		t.Error("a certificate of nobody's was taken")
	}
}

func TestEndOfAConnection(t *testing.T) {
	l := newLoop(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var r record
	enter(t, l, Relay{}, 1, netip.MustParseAddrPort(listener.Addr().String()), &r)
	c, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	until(t, l, "end", func() bool { return r.gone != nil })
	if l.Conns() != 0 {
		t.Errorf("%d connections are left", l.Conns())
	}
}

func TestEndOfStreamIsEOF(t *testing.T) {
	if err := (&simpSpeaker{}).ended(io.EOF); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestTimersFireInOrder(t *testing.T) {
	l := newLoop(t)
	var order []int
	begun := time.Now()
	l.At(begun.Add(3*time.Millisecond), func() { order = append(order, 3) })
	l.At(begun.Add(time.Millisecond), func() {
		order = append(order, 1)
		l.At(begun.Add(2*time.Millisecond), func() { order = append(order, 2) }) // due before 3, however late it is by now
	})
	until(t, l, "timers", func() bool { return len(order) == 3 })
	if order[0] != 1 || order[1] != 2 || order[2] != 3 {
		t.Error(order)
	}
}

func TestRunEnds(t *testing.T) {
	l := newLoop(t)
	never := func() bool { return false }
	if err := l.Run(t.Context(), time.Millisecond, never); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.After(time.Millisecond, cancel)
	if err := l.Run(ctx, time.Minute, never); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
