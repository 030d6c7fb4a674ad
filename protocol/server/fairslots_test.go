package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol/fairslots"
	"simpd/protocol/netaddr"
)

// handshakeListeners begin to listen, each in another way, for TLS.
var handshakeListeners = map[string]func(h *harbour) (dial func() net.Conn, protocols []string){
	"TLS": func(h *harbour) (func() net.Conn, []string) { return func() net.Conn { return dialNet(h, h.tls) }, nil },
	"Web": func(h *harbour) (func() net.Conn, []string) {
		address := h.serve(h.server.ServeWebSocket)
		return func() net.Conn { return dialNet(h, address) }, []string{"http/1.1"}
	},
	"no loop": func(h *harbour) (func() net.Conn, []string) {
		l := newMemListener()
		h.serveOn(l, h.server.ServeTLS)
		return func() net.Conn { return l.dial(roomy, netip.MustParseAddrPort("192.0.2.1:4711")) }, nil
	},
}

// A handshake has a slot while it computes only: whoever says nothing takes
// none, whoever finds none waits, and connections that exist go on meanwhile.
func TestHandshakesTakeTurns(t *testing.T) {
	for name, listen := range handshakeListeners {
		t.Run(name, func(t *testing.T) {
			h := newHarbour(t, nil)
			dial, protocols := listen(h)
			alice, slots := h.dialTLS().login("alice"), h.server.handshakeSlots
			for range 2 * runtime.GOMAXPROCS(0) {
				defer dial().Close() // and never says anything
			}
			began := make(chan error, 1)
			shake := func() {
				c := dial()
				h.Cleanup(func() { _ = c.Close() })
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				config := h.trusted.Clone()
				config.NextProtos = protocols
				began <- tls.Client(c, config).Handshake()
			}
			go shake()
			if err := <-began; err != nil {
				t.Fatal(err)
			}
			acquireAll(t, slots)
			go shake()
			for slots.Waiting() == 0 {
				alice.send("1 PING")
				alice.expect("1 200")
				select {
				case err := <-began:
					t.Fatal("it had a slot that was not there: ", err)
				default:
				}
			}
			slots.Release()
			if err := <-began; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// heldConn holds what has come from the server back until held is closed. It
// tells flights when the first octet is there.
type heldConn struct {
	net.Conn
	flights chan<- struct{}
	held    <-chan struct{}
	first   bool
}

func (c *heldConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.first {
		c.first = true
		c.flights <- struct{}{}
		<-c.held
	}
	return n, err
}

// A handshake that waits for its client holds no slot.
func TestHandshakesThatWaitHoldNoSlot(t *testing.T) {
	for name, listen := range handshakeListeners {
		t.Run(name, func(t *testing.T) {
			h := newHarbour(t, nil)
			dial, protocols := listen(h)
			all := 2 * runtime.GOMAXPROCS(0)
			flights, held, ended := make(chan struct{}, all), make(chan struct{}), make(chan error, all)
			config := h.trusted.Clone()
			config.NextProtos = protocols
			for range all {
				c := dial()
				h.Cleanup(func() { _ = c.Close() })
				go func() { ended <- tls.Client(&heldConn{Conn: c, flights: flights, held: held}, config).Handshake() }()
			}
			for range all {
				<-flights
			}
			acquireAll(t, h.server.handshakeSlots)
			for range runtime.GOMAXPROCS(0) {
				h.server.handshakeSlots.Release()
			}
			close(held)
			for range all {
				if err := <-ended; err != nil { // the server has given it up meanwhile
					t.Error(err)
				}
			}
			if n := h.server.handshakeSlots.Waiting(); n != 0 {
				t.Errorf("%d wait", n)
			}
		})
	}
}

// A connection needs no slot any more once its handshake has ended.
func TestConnectionsNeedNoTurnAfterTheHandshake(t *testing.T) {
	for name, listen := range handshakeListeners {
		t.Run(name, func(t *testing.T) {
			h := newHarbour(t, nil)
			dial, protocols := listen(h)
			config := h.trusted.Clone()
			config.NextProtos = protocols
			config.MaxVersion = tls.VersionTLS12 // of 1.3 the server has the last step to compute
			c := tls.Client(dial(), config)
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			request, want := "1 PING\r\n", "1 200"
			if name == "Web" {
				request, want = "GET /none HTTP/1.1\r\nHost: example.com\r\n\r\n", "HTTP/1.1 404 "
			}
			acquireAll(t, h.server.handshakeSlots)
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(c)
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), want) {
					return
				}
			}
			t.Errorf("no answer came: %v", lines.Err())
		})
	}
}

// acquireAll takes every slot. The server's end of a handshake may still have
// one.
func acquireAll(t *testing.T, slots *fairslots.Slots) {
	for range runtime.GOMAXPROCS(0) {
		if err := slots.Acquire(t.Context(), netip.Prefix{}); err != nil {
			t.Fatal(err)
		}
	}
}

// A handshake that waits for its turn ends with the server.
func TestShutdownEndsWaitingHandshakes(t *testing.T) {
	for name, listen := range handshakeListeners {
		t.Run(name, func(t *testing.T) {
			h := newHarbour(t, nil)
			dial, _ := listen(h)
			slots := h.server.handshakeSlots
			acquireAll(t, slots)
			c := dial()
			defer c.Close()
			go func() { _ = tls.Client(c, h.trusted).Handshake() }() // fails with the server
			for slots.Waiting() == 0 {
				runtime.Gosched()
			}
			ended := make(chan error, 1)
			go func() { ended <- h.server.Shutdown(context.Background()) }()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Error("it waits for the handshake")
				slots.Release()
			}
		})
	}
}

// A handshake that waits for its turn ends with its deadline, and computes
// nothing any more.
func TestWaitingHandshakesHaveADeadline(t *testing.T) {
	cert := certificate(t, "example.com")
	for name, serve := range map[string]func(*Server, net.Listener) error{"TLS": (*Server).ServeTLS, "Web": (*Server).ServeWebSocket} {
		t.Run(name, func(t *testing.T) {
			play(t, func(c *Config) { c.Certificates = NewCertificates(cert) }, func(s *stage) {
				l := newMemListener()
				ended := make(chan error, 1)
				go func() { ended <- serve(s.server, l) }()
				acquireAll(t, s.server.handshakeSlots)
				c := l.dial(roomy, s.source)
				started := time.Now()
				time.AfterFunc(handshakeTimeout/2, func() {
					if n := s.server.handshakeSlots.WaitingOf(netaddr.Network(s.source.Addr())); n != 1 {
						t.Errorf("%d wait in the turns of its network", n)
					}
				})
				if err := tls.Client(c, trusting(cert)).Handshake(); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(started); took != handshakeTimeout {
					t.Errorf("it was closed after %v", took)
				}
				synctest.Wait()
				if n := s.server.handshakeSlots.Waiting(); n != 0 {
					t.Errorf("%d wait", n)
				}
				_ = l.Close()
				if err := <-ended; !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			})
		})
	}
}
