package server

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// heapUsed returns how many octets are on the heap that something refers to.
func heapUsed() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// checkUsage compares what is counted for a session that build fills with what
// it takes: at least three quarters of it, and at most four times. What other
// tests have left behind may be freed meanwhile: then it is measured anew.
func checkUsage(t *testing.T, build func(s *Server, x *session)) {
	t.Helper()
	var took, counted int64
	for range 10 {
		s, x := newUsageSession(t)
		before := heapUsed()
		build(s, x)
		took, counted = heapUsed()-before, s.Held()
		runtime.KeepAlive(x)
		t.Logf("takes %d, counted %d", took, counted)
		if counted >= took*3/4 && counted <= took*4 {
			return
		}
	}
	t.Errorf("%d octets are counted for what takes %d", counted, took)
}

// newUsageSession returns a server that no client connects to, and a session of
// a user who reads nothing.
func newUsageSession(t *testing.T) (*Server, *session) {
	t.Helper()
	s, err := New(Config{Backend: newSite(t), Domains: []string{"example.com"}, Insecure: true, Logger: silent()})
	if err != nil {
		t.Fatal(err)
	}
	w := &stuckWire{ended: make(chan struct{})}
	t.Cleanup(func() { close(w.ended) })
	x := s.newSession(netio.Stream{Base: w, Transport: w}, netip.AddrPort{}, &connSlot{})
	x.client.User = address(t, "alice@example.com")
	x.user = &unanswered{}
	x.state.setPhase(phaseAuthenticated)
	return s, x
}

// stuckWire is a wire and a conn of which nobody reads.
type stuckWire struct {
	sink
	ended chan struct{}
}

func (w *stuckWire) Write(b []byte) (int, bool, error) { return 0, false, nil }
func (w *stuckWire) WaitWritable() error {
	<-w.ended
	return net.ErrClosed
}

// unanswered is a user at a site that does nothing with a message.
type unanswered struct {
	User
	kept []*protocol.SendRequest
}

func (u *unanswered) Send(r *protocol.SendRequest) { u.kept = append(u.kept, r) }

func TestUsageOfAnswersThatAreNotRead(t *testing.T) {
	checkUsage(t, func(s *Server, x *session) {
		for i := range 2000 {
			s.benchHeard(x, fmt.Appendf(nil, "%d PING\r\n", i))
		}
	})
}

func TestUsageOfRequests(t *testing.T) {
	for _, octets := range []int{0, 100, 5000, 65536} {
		checkUsage(t, func(s *Server, x *session) {
			for i := range 100 {
				s.benchHeard(x, fmt.Appendf(nil, "%d SEND to=bob@example.com {%d}\r\n%s", i, octets, strings.Repeat("x", octets)))
			}
		})
	}
}

func TestUsageOfMessages(t *testing.T) {
	for _, octets := range []int{0, 100, 4000} {
		checkUsage(t, func(_ *Server, x *session) {
			x.in.startListening()
			for i := range 500 {
				x.Deliver(&protocol.Message{
					From: x.client.User, To: x.client.User, ID: fmt.Sprint(i), Time: time.Now(),
					Entity: []byte(strings.Repeat("x", octets)), Deadline: time.Now().Add(time.Minute),
				}, func(protocol.Outcome) {})
			}
		})
	}
}

func TestUsageOfNotices(t *testing.T) {
	checkUsage(t, func(_ *Server, x *session) {
		for i := range 500 {
			x.Notify(&protocol.Notice{Presence: protocol.Presence{
				Address: address(t, fmt.Sprintf("u%d@example.com", i)), State: protocol.Away, Note: "away for lunch",
				Since: time.Now(), Index: uint64(i) + 1,
			}})
		}
	})
}

// A connection that idles costs no party: neither its source's nor its user's.
func TestIdleConnectionsHaveNoParty(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.listen("alice")
		s.dial()
		time.Sleep(tenantTime + 2*netio.Tick)
		s.server.tenants.mu.Lock()
		defer s.server.tenants.mu.Unlock()
		if sources, named := len(s.server.tenants.sources), len(s.server.tenants.named); sources+named != 0 {
			t.Errorf("%d sources and %d users are kept", sources, named)
		}
	})
}
