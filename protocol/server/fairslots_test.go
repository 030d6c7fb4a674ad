package server

import (
	"crypto/tls"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Networks take turns, and within one of them whoever came first.
func TestNetworksTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFairSlots()
		f.free = 2
		many, other := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
		came := make(chan int)
		wait := func(network netip.Prefix, who int) {
			go func() {
				f.acquire(network)
				came <- who
			}()
			synctest.Wait()
		}
		f.acquire(many)
		f.acquire(many)
		for i := range 4 {
			wait(many, i)
		}
		wait(other, 10)
		wait(other, 11)
		var order []int
		for range 6 {
			f.release()
			order = append(order, <-came)
		}
		if !slices.Equal(order, []int{0, 10, 1, 11, 2, 3}) {
			t.Errorf("the order was %v", order)
		}
		f.release()
		f.release()
		if f.free != 2 || len(f.waiting) > 0 || len(f.order) > 0 {
			t.Errorf("%d slots are free, %d networks wait", f.free, len(f.waiting))
		}
	})
}

// A handshake has a slot while it computes only: whoever says nothing takes
// none, whoever finds none waits, and connections that exist go on meanwhile.
func TestHandshakesTakeTurns(t *testing.T) {
	for name, listen := range map[string]func(h *harbour) (dial func() net.Conn, protocols []string){
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
	} {
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
			for range runtime.GOMAXPROCS(0) { // the server's end of the handshake may still have one
				slots.acquire(netip.Prefix{})
			}
			go shake()
			for !slots.isAwaited() {
				alice.send("1 PING")
				alice.expect("1 200")
				select {
				case err := <-began:
					t.Fatal("it had a slot that was not there: ", err)
				default:
				}
			}
			slots.release()
			if err := <-began; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func (f *fairSlots) isAwaited() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.order) > 0
}
