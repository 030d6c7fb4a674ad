package link

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// acquireTurns takes every slot of handshakes that compute.
func (m *mux) acquireTurns(t *testing.T) {
	t.Helper()
	for range runtime.GOMAXPROCS(0) {
		if err := m.turns.Acquire(t.Context(), netip.Prefix{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHandshakesOfNodesTakeTurns: a node's handshake computes once it has a
// slot.
func TestHandshakesOfNodesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(2).up(2)
		m := s.links["n1"].mux
		m.acquireTurns(t)
		s.network.Reset(hostOf(1), hostOf(2))
		own := netip.PrefixFrom(netip.MustParseAddr(hostOf(2)), 32)
		s.eventually(func() bool { return m.turns.WaitingOf(own) > 0 }, "n2 waits for its turn")
		if s.links["n2"].Connectivity("n1").Connected {
			t.Error("it connected without a slot")
		}
		m.turns.Release()
		s.connected(2)
	})
}

// TestHandshakesThatMayNotStayGiveTheirTurnUp: whoever had to make room, or has
// waited too long, computes nothing any more.
func TestHandshakesThatMayNotStayGiveTheirTurnUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(2).up(2)
		m := s.links["n1"].mux
		m.acquireTurns(t)
		for i := range 400 {
			c, err := s.network.Dialer(fmt.Sprint("10.9.0.", i%200))(t.Context(), hostOf(1)+":7470")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("something")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n := m.turns.WaitingOf(netip.MustParsePrefix("10.9.0.0/24")); n != strangerHandshakes {
			t.Errorf("%d wait in the turns of the network", n)
		}
		time.Sleep(handshakeTimeout)
		synctest.Wait()
		if n := m.turns.Waiting(); n != 0 {
			t.Errorf("%d wait after their time", n)
		}
		c, err := s.network.Dialer("10.9.0.1")(t.Context(), hostOf(1)+":7470")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("something")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		s.links["n1"].Close()
		if took := time.Since(began); took >= handshakeTimeout {
			t.Errorf("it waited %v for a handshake's turn", took)
		}
	})
}

// TestMembersTakeTurnsOfTheirOwn: where members were found, no other address of
// their network takes their turn.
func TestMembersTakeTurnsOfTheirOwn(t *testing.T) {
	s := newConnSlots(4, 4)
	s.addMemberSource("n2", address("10.0.0.2:7470"))
	for host, network := range map[string]string{"10.0.0.2": "10.0.0.2/32", "10.0.0.3": "10.0.0.0/24"} {
		taken, _ := s.acquire(connFrom(host + ":1"))
		if got := taken.network().String(); got != network {
			t.Errorf("%s takes the turn of %s, not of %s", host, got, network)
		}
	}
}

// connFrom is a connection of which only the address is asked.
type connFrom string

func (connFrom) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (connFrom) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (connFrom) Close() error                     { return nil }
func (connFrom) LocalAddr() net.Addr              { return nil }
func (c connFrom) RemoteAddr() net.Addr           { return address(c) }
func (connFrom) SetDeadline(time.Time) error      { return nil }
func (connFrom) SetReadDeadline(time.Time) error  { return nil }
func (connFrom) SetWriteDeadline(time.Time) error { return nil }
