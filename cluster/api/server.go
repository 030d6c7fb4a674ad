package api

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	simpv1 "simpd/proto/simp/v1"
)

// Limits of the listener.
const (
	maxStreams     = 100      // calls at once on one connection
	maxReceive     = 1 << 20  // octets of a request
	window         = 64 << 10 // octets of a stream that wait to be read
	defaultMemory  = 64 << 20 // octets that all callers may hold
	maxHeader      = 16 << 10 // octets of a call's header
	connectTimeout = 5 * time.Second
	pingMinimum    = 10 * time.Second // a client that pings more often is sent away
	pingAfter      = 30 * time.Second // of silence
	pingTimeout    = 10 * time.Second
)

// Server is the listener for programs. Its methods may be called from any
// goroutine.
type Server struct {
	grpc        *grpc.Server
	health      *health.Server
	pages       *pages
	gate        *gate
	connections *connections
	accounts    *accountService
	close       context.CancelFunc // ends every Watch

	methods map[string]localMethod // as calls within this process make them
	closing context.Context        // ends with close
	localMu sync.Mutex             // held while a stream of this process begins
	local   sync.WaitGroup         // of these streams
}

// New makes a Server that serves nothing yet. Its health is NOT_SERVING.
func New(c Config) *Server {
	g := newGate(c)
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	s := &Server{health: health.NewServer(), pages: newPages(c.Table), gate: g, connections: newConnections(c.Memory)}
	s.grpc = grpc.NewServer(serverOptions(c, g)...)
	closing, cancel := context.WithCancel(context.Background())
	s.close, s.closing, s.methods = cancel, closing, map[string]localMethod{}
	r := registrar{s.grpc, g, s.methods}
	simpv1.RegisterPresenceServiceServer(r, &presenceService{Config: c, pages: s.pages, closing: closing})
	simpv1.RegisterMessageServiceServer(r, &messageService{Config: c})
	s.accounts = newAccountService(c, s.pages)
	simpv1.RegisterAccountServiceServer(r, s.accounts)
	simpv1.RegisterInviteServiceServer(r, &inviteService{Config: c, pages: s.pages})
	simpv1.RegisterBlockServiceServer(r, &blockService{Config: c, pages: s.pages})
	simpv1.RegisterReportServiceServer(r, &reportService{Config: c, pages: s.pages, closing: closing})
	simpv1.RegisterClusterServiceServer(r, &clusterService{Config: c, pages: s.pages})
	healthv1.RegisterHealthServer(r, s.health)
	registerReflection(r)
	s.SetServing(false)
	return s
}

func serverOptions(c Config, g *gate) []grpc.ServerOption {
	secure := insecure.NewCredentials()
	if c.TLS != nil {
		secure = credentials.NewTLS(c.TLS)
	}
	return []grpc.ServerOption{
		grpc.Creds(handshaker{secure, g.identifyConn}),
		grpc.InTapHandle(g.tapHandle),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.UnknownServiceHandler(refuseUnknown),
		//lint:ignore SA1019 a registered one would decompress for the whole process, and without this server's limit
		grpc.RPCDecompressor(gunzip{}),
		grpc.ReadBufferSize(0), // meteredConn has one, and needs to see one frame at a time
		grpc.StaticStreamWindowSize(window),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxReceive),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingMinimum, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WaitForHandlers(true),
	}
}

// Serve answers calls on l until Shutdown, and then returns nil. It owns l.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(listener{l, s.connections}) }

// Connections returns how many connections there are.
func (s *Server) Connections() int { return s.connections.admission.size() }

// Held returns how many octets the connections and calls of all callers hold,
// as they are counted, those of anonymous connections included.
func (s *Server) Held() int64 { return s.connections.heldOctets() }

// Refused returns how many calls have been refused: for who called, or for
// what they held already.
func (s *Server) Refused() uint64 { return s.gate.refused.Load() }

// SetServing sets what grpc.health.v1 says of each service: whether the node
// is ready.
func (s *Server) SetServing(ready bool) {
	status := healthv1.HealthCheckResponse_NOT_SERVING
	if ready {
		status = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
	for service := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(service, status)
	}
}

// Shutdown ends every Watch, and every connection on which no frame of HTTP/2 has
// come yet, lets other calls that are under way end until ctx does, then ends
// them. A connection that has no call and does not go by itself is closed after
// a second. Shutdown returns when nothing runs any more.
func (s *Server) Shutdown(ctx context.Context) {
	s.health.Shutdown()
	s.localMu.Lock()
	s.close()
	s.localMu.Unlock()
	s.local.Wait()
	s.connections.stop()
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.grpc.GracefulStop() }()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
		<-stopped
	}
	s.pages.close()
	s.gate.refusals.close()
}
