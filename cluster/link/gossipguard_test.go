package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol/loglimit"
)

// exchangeOf begins as an exchange of gossip does that announces so many octets.
func exchangeOf(label string, announced uint32) []byte {
	b := append([]byte{labelMark, byte(len(label))}, label...)
	return binary.BigEndian.AppendUint32(append(b, encryptedMark), announced)
}

// withKey is the configuration of a node that has the gossip key.
func (s *site) withKey(i int) Config {
	c := s.config(i)
	c.Gossip.Keys = [][]byte{key(1)}
	return c
}

// TestGossipRefusesLongAnnouncements: what a stranger announces is refused
// before it is read, just above what a big site needs, and not at it.
func TestGossipRefusesLongAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.open(s.withKey(1))
		for _, tt := range []struct {
			name  string
			sent  []byte
			taken int // octets that are read after the first
		}{
			{"as long as may be", exchangeOf("example.com", maxExchange), maxExchange},
			{"one octet more", exchangeOf("example.com", maxExchange+1), 0},
			{"another site", exchangeOf("example.org", 100), 0},
			{"in clear", append(exchangeOf("example.com", 0)[:13], 6, 0, 0, 0, 9), 0},
		} {
			c, err := s.network.Dialer("10.9.0.1")(t.Context(), hostOf(1)+":7471")
			if err != nil {
				t.Fatal(err)
			}
			c.Write(tt.sent)
			n, err := c.Write(make([]byte, 64<<10))
			for total := n; err == nil && total < 4*maxExchange; total += n {
				c.SetWriteDeadline(time.Now().Add(time.Second))
				n, err = c.Write(make([]byte, 16<<10))
			}
			synctest.Wait()
			if tt.taken == 0 && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if err == nil {
				t.Errorf("%s: it is read without an end", tt.name)
			}
			c.Close()
		}
	})
}

// TestGossipStrangersKeepNobodyOut: strangers who say nothing, or who announce
// much and send little, are few at a time, and a new node joins meanwhile.
func TestGossipStrangersKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.open(s.withKey(1))
		for i := range 300 {
			c, err := s.network.Dialer(fmt.Sprint("10.9.0.", i%100))(t.Context(), hostOf(1)+":7471")
			if err == nil && i%2 == 0 {
				c.Write(exchangeOf("example.com", maxExchange))
			}
			synctest.Wait()
		}
		if n := s.links["n1"].gossipSlots.strangers.count(); n > otherGossipSlots {
			t.Errorf("%d connections of strangers are open", n)
		}
		before := time.Now()
		s.open(s.withKey(2))
		s.eventually(func() bool { return s.sees(1, "n1 n2") && s.sees(2, "n1 n2") }, "they find one another")
		if took := time.Since(before); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		<-time.After(gossipTimeout + time.Second)
		if n := s.links["n1"].gossipSlots.strangers.count(); n > 0 {
			t.Errorf("%d connections are never given up", n)
		}
	})
}

// TestGossipNetworksThatAreNotAllowed: nothing of theirs is read.
func TestGossipNetworksThatAreNotAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.config(1)
		c.Gossip.Allowed = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30")}
		s.open(c)
		for host, open := range map[string]bool{"10.0.0.2": true, "10.0.0.4": false} {
			c, err := s.network.Dialer(host)(t.Context(), hostOf(1)+":7471")
			if err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(time.Second))
			_, err = c.Read(make([]byte, 1))
			timeout, ok := err.(net.Error)
			if got := ok && timeout.Timeout(); got != open {
				t.Errorf("from %s it stays open: %v (%v)", host, got, err)
			}
			c.Close()
		}
	})
}

// TestRefusalsFillNoLog: whoever connects a thousand times a second, or sends
// gossip without a key, gets a line a minute for each cause.
func TestRefusalsFillNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := slog.New(loglimit.New(slog.NewTextHandler(&log, nil)))
		gossip := memberlistLog(l)
		for i := range 120 {
			for j := range 100 {
				at := &net.TCPAddr{IP: net.IPv4(10, 0, byte(i), byte(j)), Port: i}
				logRefusal(l, "refused", at, "n3", fmt.Errorf("node n3: %w", errRevoked))
				logRefusal(l, "refused", at, "", fmt.Errorf("it said %c%c", 'a'+i%26, 'a'+j%26))
				gossip.Printf("[ERR] memberlist: Decrypt packet failed: no key from=%s", at)
				gossip.Printf("[WARN] memberlist: Got bind error from=%s", at)
			}
			<-time.After(time.Second + time.Millisecond)
		}
		<-time.After(3 * loglimit.Interval)
		synctest.Wait() // the last lines are written
		if n := strings.Count(log.String(), "\n"); n != 4*3 {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
		if !strings.Contains(log.String(), "left_out=5999") {
			t.Errorf("it does not say how many:\n%s", log.String())
		}
	})
}

// TestMemberlistsLinesHaveKinds: what memberlist says of several nodes or
// addresses in the same words is of one kind.
func TestMemberlistsLinesHaveKinds(t *testing.T) {
	var log bytes.Buffer
	to := memberlistLog(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
	to.Printf("[ERR] memberlist: Failed to send UDP ping: write udp 10.0.0.1:7471->10.0.0.3:7471: refused")
	to.Printf("[WARN] memberlist: Got bind error from=10.0.0.9:1")
	to.Printf("[INFO] memberlist: Suspect n3 has failed, no acks received")
	to.Printf("something else")
	want := `level=ERROR msg="memberlist: Failed to send UDP ping" part=gossip detail="write udp 10.0.0.1:7471->10.0.0.3:7471: refused"
level=WARN msg="memberlist: Got bind error" part=gossip detail="from=10.0.0.9:1"
level=INFO msg="memberlist: Suspect n3 has failed, no acks received" part=gossip
level=INFO msg="memberlist: something else" part=gossip
`
	if log.String() != want {
		t.Errorf("written:\n%swanted:\n%s", log.String(), want)
	}
}
