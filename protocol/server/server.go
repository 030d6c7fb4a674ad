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
	"simpd/protocol/fairslots"
	"simpd/protocol/server/internal/netio"
	"simpd/protocol/server/internal/sasl"
)

// Server serves the clients of a node.
type Server struct {
	config         Config
	tls            *tls.Config // nil without certificates
	metrics        *Metrics
	connLimiter    *connLimiter
	network        netio.Network
	tenants        *tenantTable
	entities       entityTable
	shedding       atomic.Bool // shedLoad is running
	notices        noticeCache
	timers         *netio.TimerWheel
	hash           *messageHasher
	hasher         sasl.Hasher
	proved         *sasl.ProvedPasswords
	idn            idnSemaphore
	handshakeSlots *fairslots.Slots // of TLS handshakes
	verifiers      sasl.Verifiers
	ids            *messageIDs
	routingConns   keyedSemaphore   // by domain
	verifySlots    sasl.VerifySlots // dialbacks being verified
	hosts          webHosts

	mu        sync.Mutex
	sessions  map[*session]struct{}
	listeners map[net.Listener]struct{}
	stopped   bool
	stopping  context.Context // ends with Shutdown
	stop      context.CancelFunc
	done      sync.WaitGroup
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("the server is shut down")

// New returns a Server without listeners.
func New(c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: c, metrics: c.Metrics, connLimiter: newConnLimiter(c),
		timers: netio.NewTimerWheel(), hash: newMessageHasher(), hasher: sasl.NewHasher(), proved: sasl.NewProvedPasswords(), idn: newIDNSemaphore(), handshakeSlots: fairslots.New(), ids: newMessageIDs(),
		tenants: newTenantTable(c.MaxHeld, c.Limits), hosts: newWebHosts(c),
		sessions: make(map[*session]struct{}), listeners: make(map[net.Listener]struct{}),
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	if c.Certificates != nil {
		s.tls = c.Certificates.TLSConfig()
		if c.Federation != nil || c.UserRoots != nil {
			// Only those who authenticate by it present one; AUTH checks it.
			s.tls.ClientAuth = tls.RequestClientCert
		}
	}
	return s, nil
}

// SetLimits replaces Config.Limits. What users have used of the previous limits
// counts for the new ones, but at most as much as empties a bucket of these.
func (s *Server) SetLimits(l Limits) { s.tenants.setLimits(l) }

// Sessions returns the number of connections, and how many of them are
// authenticated.
func (s *Server) Sessions() (open, proved int) {
	s.connLimiter.mu.Lock()
	defer s.connLimiter.mu.Unlock()
	return s.connLimiter.total.open, s.connLimiter.total.open - s.connLimiter.total.unauthenticated
}

// Move asks all authenticated clients to move to another node, which to
// returns for each. It returns how many were asked.
func (s *Server) Move(to func(protocol.Client) string, within time.Duration, why string) int {
	asked := 0
	for _, c := range s.allSessions() {
		if c.state.isAuthenticated() {
			asked++
			c.Move(to(c.client), within, why)
		}
	}
	return asked
}

// Shutdown closes the listeners, sends BYE to all clients, and waits until
// they are gone. When ctx ends it closes the remaining connections and
// returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	s.stop()
	for l := range s.listeners {
		_ = l.Close() // it is not used any more
	}
	s.mu.Unlock()
	for _, c := range s.allSessions() {
		c.Bye(protocol.StatusUnavailable, "this node is shutting down")
	}
	stop := context.AfterFunc(ctx, func() {
		for _, c := range s.allSessions() {
			c.Abort()
		}
	})
	defer stop()
	s.done.Wait()
	s.network.Stop()
	s.timers.Wait()
	return ctx.Err()
}

// allSessions returns the present sessions.
func (s *Server) allSessions() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.sessions))
	for c := range s.sessions {
		all = append(all, c)
	}
	return all
}

// startSession runs a session, in a goroutine if starting it or reading
// blocks. Shutdown waits until it is unregistered.
func (s *Server) startSession(x *session) {
	switch {
	case !s.register(x):
	case x.isBlocking():
		go x.serve()
	default:
		x.serve()
	}
}

// goTracked runs f in a goroutine that Shutdown waits for. It returns false
// after Shutdown.
func (s *Server) goTracked(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.done.Go(f)
	}
	return !s.stopped
}

// register registers a session, or closes it if the server is shut down.
func (s *Server) register(x *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = x.conn.Close() // nothing was said yet
		x.connSlot.release()
		return false
	}
	s.sessions[x] = struct{}{}
	s.done.Add(1)
	return true
}

// unregister forgets a session that has ended, in whatever way.
func (s *Server) unregister(x *session) {
	s.timers.Cancel(&x.timer)
	x.connSlot.release()
	s.mu.Lock()
	delete(s.sessions, x)
	s.mu.Unlock()
	s.done.Done()
}

// newSession returns a session on c.
func (s *Server) newSession(c netio.Stream, remote netip.AddrPort, a *connSlot) *session {
	x := &session{server: s, connSlot: a, client: protocol.Client{Remote: remote}}
	x.conn.Init(c, x, &s.network)
	x.timer.Init(x)
	x.activity.start = time.Now()
	x.usage.session = x
	x.in.hash, x.in.usage, x.inflight.session = s.hash, &x.usage, x
	x.decoder.maxMessage, x.decoder.state = protocol.MaxEntity, &x.state
	return x
}
