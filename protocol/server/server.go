package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// Server holds the conversations with a node's clients.
type Server struct {
	config    Config
	tls       *tls.Config // nil without certificates
	metrics   *Metrics
	admission *admission
	gather    gather
	parties   *parties
	entities  entities
	shedding  atomic.Bool // somebody is being cut off for holding too much
	notices   notices
	wheel     *wheel
	loops     loops
	hash      *hasher
	hashing   hashing
	idn       idnReaders
	slots     *fairSlots // of TLS handshakes
	verifiers verifiers
	ids       *ids
	routes    counts      // routing connections, by domain
	verifying verifySlots // dialbacks being looked into
	hosts     webHosts

	mu        sync.Mutex
	sessions  map[*session]struct{}
	listeners map[net.Listener]struct{}
	stopped   bool
	done      sync.WaitGroup
}

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("the server is shut down")

// New makes a server that serves no listener yet.
func New(c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: c, metrics: c.Metrics, admission: newAdmission(c),
		wheel: newWheel(), hash: newHasher(), hashing: newHashing(), idn: newIDNReaders(), slots: newFairSlots(), ids: newIDs(),
		parties: newParties(c.MaxHeld, c.Limits), hosts: newWebHosts(c),
		sessions: make(map[*session]struct{}), listeners: make(map[net.Listener]struct{}),
	}
	if c.Certificates != nil {
		s.tls = c.Certificates.TLSConfig()
		if c.Partners != nil {
			// Only who wants to prove a domain shows one; AUTH checks it.
			s.tls.ClientAuth = tls.RequestClientCert
		}
	}
	return s, nil
}

// SetLimits replaces Config.Limits. What users have used up of the limits
// before counts against the new ones.
func (s *Server) SetLimits(l Limits) { s.parties.limits.Store(&l) }

// Sessions returns how many connections there are, and how many of them are
// authenticated.
func (s *Server) Sessions() (open, proved int) {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	return s.admission.all.open, s.admission.all.open - s.admission.all.unproved
}

// Move asks all clients that are authenticated to go to another node, which
// to names for each; it returns how many were asked.
func (s *Server) Move(to func(protocol.Client) string, within time.Duration, why string) int {
	asked := 0
	for _, c := range s.all() {
		if c.proved.Load() {
			asked++
			c.Move(to(c.client), within, why)
		}
	}
	return asked
}

// Shutdown closes the listeners, says BYE to all clients, and waits until
// they are gone. When ctx ends it cuts those off that are left. The error is
// then the context's.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	for l := range s.listeners {
		_ = l.Close() // it is not used any more
	}
	s.mu.Unlock()
	for _, c := range s.all() {
		c.Bye(protocol.StatusUnavailable, "this node is shutting down")
	}
	stop := context.AfterFunc(ctx, func() {
		for _, c := range s.all() {
			c.cut()
		}
	})
	defer stop()
	s.done.Wait()
	s.loops.stop()
	s.wheel.done.Wait()
	return ctx.Err()
}

// all returns the sessions as they are now.
func (s *Server) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.sessions))
	for c := range s.sessions {
		all = append(all, c)
	}
	return all
}

// start holds a session: in a goroutine of its own where beginning it waits,
// or reading. Shutdown waits for its end, forget.
func (s *Server) start(x *session) {
	switch {
	case !s.register(x):
	case x.waits():
		go x.converse()
	default:
		x.converse()
	}
}

// aside has f done by a goroutine that Shutdown waits for; not after it.
func (s *Server) aside(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.done.Go(f)
	}
	return !s.stopped
}

// register makes a session known, or closes it if the server is shut down.
func (s *Server) register(x *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = x.conn.Close() // nothing was said yet
		x.admitted.leave()
		return false
	}
	s.sessions[x] = struct{}{}
	s.done.Add(1)
	return true
}

func (s *Server) forget(x *session) {
	x.admitted.leave()
	s.mu.Lock()
	delete(s.sessions, x)
	s.mu.Unlock()
	s.done.Done()
}

// newSession prepares the conversation over c.
func (s *Server) newSession(c conn, w wire, remote netip.AddrPort, a *admitted) *session {
	x := &session{server: s, conn: c, admitted: a, client: protocol.Client{Remote: remote}}
	x.alarm.init(x)
	x.vigil.began = time.Now()
	x.usage.session = x
	x.in.hash, x.in.usage, x.ledger.session = s.hash, &x.usage, x
	x.input.size, x.input.proved = s.config.Size, &x.proved
	x.out.wire, x.out.gather = w, &s.gather
	x.out.owner = x
	return x
}
