package server

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// Limits of connections, in all and by source, on both sides; and what
// was counted is uncounted.
func TestConnectionLimits(t *testing.T) {
	for name, x := range map[string]struct {
		set    func(*Config)
		most   int
		prove  bool
		refuse string
	}{
		"in all":               {func(c *Config) { c.maxConnections = 4 }, 4, true, "this node has no room for another connection"},
		"unproved":             {func(c *Config) { c.maxUnauthenticated = 3 }, 3, false, "too many connections are not authenticated yet"},
		"from one address":     {func(c *Config) { c.perSource = 5 }, 5, true, "too many connections from this address"},
		"unproved, of address": {func(c *Config) { c.perSourceUnauthenticated = 2 }, 2, false, "too many connections from this address are not authenticated yet"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, x.set, func(s *stage) {
				var last *client
				for range x.most {
					last = s.dial()
					if x.prove {
						last.login("alice")
					}
				}
				over := s.connect(roomy)
				over.expect("* BYE status=503 :%s", x.refuse)
				over.expectEnd()
				_ = last.Close()
				time.Sleep(time.Second)
				s.dial()
			})
		})
	}
}

func TestLimitsBySourceAreByNetwork(t *testing.T) {
	a := newConnLimiter(Config{
		maxConnections: 100, maxUnauthenticated: 100, perSource: 1, perSourceUnauthenticated: 1,
		Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	for _, x := range []struct {
		source string
		taken  bool
	}{
		{"192.0.2.1:1", true}, {"192.0.2.1:2", false}, {"192.0.2.2:1", true}, {"[::ffff:192.0.2.1]:3", false},
		{"[2001:db8::1]:1", true}, {"[2001:db8::2]:1", false}, {"[2001:db8:0:1::1]:1", true},
		{"10.0.0.1:1", true}, {"10.0.0.1:2", true},
	} {
		if _, refusal := a.acquire(netip.MustParseAddrPort(x.source)); (refusal == "") != x.taken {
			t.Errorf("%s: %q", x.source, refusal)
		}
	}
}

// Connections that send nothing leave nothing behind.
func TestSilentConnectionsLeaveNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	h := newHarbour(t, func(c *Config) { c.perSourceUnauthenticated, c.perSource = 1<<20, 1<<20 })
	var all []net.Conn
	for i := range 400 {
		address := h.plain
		if i%2 == 0 {
			address = h.tls // no handshake follows
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for _, c := range all {
		_ = c.Close()
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		open, _ := h.server.Sessions()
		n := runtime.NumGoroutine() // those of connections that are gone may be about to end
		if open == 0 && n <= before+20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left, and %d goroutines of %d", open, n, before)
		}
		runtime.Gosched()
	}
}

// The handshake has to be done in 15 s.
func TestHandshakeDeadline(t *testing.T) {
	cert := certificate(t, "example.com")
	play(t, func(c *Config) { c.Certificates = NewCertificates(cert) }, func(s *stage) {
		l := newMemListener()
		ended := make(chan error, 1)
		go func() { ended <- s.server.ServeTLS(l) }()
		silent := l.dial(roomy, s.source)
		plain := s.dial()
		plain.send("1 STARTTLS")
		plain.expect("1 200")
		started := time.Now()
		for _, c := range []net.Conn{silent, plain.Conn} {
			if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
				t.Errorf("got %q, %v", b, err)
			}
		}
		if took := time.Since(started); took != handshakeTimeout {
			t.Errorf("they were closed after %v", took)
		}
		_ = l.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// failingListener has no files left for a while.
type failingListener struct {
	*memListener
	left  atomic.Int32
	tried atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	l.tried.Add(1)
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.memListener.Accept()
}

// Where there are no files left, accepting backs off and goes on.
func TestAcceptNeverSpins(t *testing.T) {
	play(t, nil, func(s *stage) {
		l := &failingListener{memListener: newMemListener()}
		l.left.Store(10)
		ended := make(chan error, 1)
		go func() { ended <- s.server.Serve(l) }()
		started := time.Now()
		conn := l.dial(roomy, s.source)
		if took := time.Since(started); took < 2*time.Second || l.tried.Load() > 12 {
			t.Errorf("after %v it had tried %d times", took, l.tried.Load())
		}
		_ = conn.Close()
		_ = l.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// A client behind a balancer is who the PROXY protocol says.
func TestPROXYProtocol(t *testing.T) {
	balancers := func(c *Config) {
		c.Balancers = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		c.perSource = 1
	}
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x03\x7f\x00\x00\x01\x00\x50\x1d\x2b"
	for name, x := range map[string]struct{ head, remote string }{
		"v1":         {"PROXY TCP4 10.1.2.3 127.0.0.1 80 7467\r\n", "10.1.2.3:80"},
		"v1 of IPv6": {"PROXY TCP6 2001:db8::7 ::1 80 7467\r\n", "[2001:db8::7]:80"},
		"v1 unknown": {"PROXY UNKNOWN\r\n", "192.0.2.1:4711"},
		"v2":         {v2, "10.1.2.3:80"},
		"v2 local":   {"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "192.0.2.1:4711"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, balancers, func(s *stage) {
				c := s.connect(roomy)
				c.write(x.head + "1 HELLO version=SIMP/1.0\r\n")
				c.expect("* HELLO <rest>")
				c.expect("1 200 <rest>")
				c.send("a AUTH mech=PLAIN data=%s", plainData("alice", "secret"))
				c.expect("a 200 <rest>")
				for u := range s.site.users {
					if got := u.session.Client().Remote.String(); got != x.remote {
						t.Errorf("it is %s, not %s", got, x.remote)
					}
				}
				again := s.connect(roomy)
				again.write(x.head)
				again.expect("* BYE status=503 :too many connections from this address")
			})
		})
	}
}

// A balancer that looks whether anybody listens leaves no line in the log.
func TestPROXYHealthChecksAreNotLogged(t *testing.T) {
	for octets, logged := range map[string]bool{"": false, "PROX": true} {
		var log bytes.Buffer
		play(t, func(c *Config) {
			c.Balancers = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}, func(s *stage) {
			c := s.connect(roomy)
			c.write(octets)
			_ = c.Close()
			synctest.Wait()
		})
		if got := strings.Contains(log.String(), "a balancer's connection is refused"); got != logged {
			t.Errorf("after %q: %q", octets, log.String())
		}
	}
}

func TestPROXYProtocolIsWanted(t *testing.T) {
	for name, octets := range map[string]string{
		"a client's line": "1 HELLO version=SIMP/1.0\r\n",
		"a long header":   "PROXY " + strings.Repeat("x", 200) + "\r\n",
		"a wrong address": "PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n",
		"a huge header":   "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff",
		"nothing":         "",
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(c *Config) { c.Balancers = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} }, func(s *stage) {
				started := time.Now()
				c := s.connect(roomy)
				c.write(octets)
				c.expectEnd()
				if time.Since(started) > handshakeTimeout {
					t.Error("it took too long to be closed")
				}
			})
		})
	}
	play(t, nil, func(s *stage) { // from elsewhere it is a line like any other
		c := s.dial()
		c.send("PROXY TCP4 10.1.2.3 127.0.0.1 80 7467")
		c.expect("PROXY 400 <rest>")
	})
}

// Tables by source take no room once a flood from very many sources is over.
func TestTablesOfSourcesGiveTheirRoomBack(t *testing.T) {
	const flood = 20_000
	a := newConnLimiter(Config{maxConnections: flood, maxUnauthenticated: flood, perSource: 1, perSourceUnauthenticated: 1})
	tenants := newTenantTable(1<<30, Limits{})
	var slots []*connSlot
	var all []*tenant
	for i := range flood {
		remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
		slot, refusal := a.acquire(remote)
		if refusal != "" {
			t.Fatal(refusal)
		}
		slots, all = append(slots, slot), append(all, tenants.acquire(&session{client: protocol.Client{Remote: remote}}))
	}
	for i := range flood {
		slots[i].release()
		tenants.release(all[i])
	}
	if len(a.sources) != 0 || a.most > flood/10 {
		t.Errorf("%d sources are left, and the room of %d", len(a.sources), a.most)
	}
	if len(tenants.sources) != 0 || tenants.mostSources > flood/10 {
		t.Errorf("%d tenants are left, and the room of %d", len(tenants.sources), tenants.mostSources)
	}
}
