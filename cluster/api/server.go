package api

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	simpv1 "simpd/proto/simp/v1"
)

// Limits of the listener.
const (
	maxStreams     = 100      // calls at once on one connection
	maxReceive     = 1 << 20  // octets of a request
	maxHeader      = 16 << 10 // octets of a call's header
	connectTimeout = 5 * time.Second
	pingMinimum    = 10 * time.Second // a client that pings more often is sent away
	pingAfter      = 30 * time.Second // of silence
	pingTimeout    = 10 * time.Second
)

// Server is the listener for programs. Its methods may be called from any
// goroutine.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
	pages  *pages
	close  context.CancelFunc // ends every Watch
}

// New makes a Server that serves nothing yet. Its health is NOT_SERVING.
func New(c Config) *Server {
	s := &Server{health: health.NewServer(), pages: newPages(c.Table)}
	s.grpc = grpc.NewServer(options(c, newGate(c))...)
	closing, cancel := context.WithCancel(context.Background())
	s.close = cancel
	simpv1.RegisterPresenceServiceServer(s.grpc, &presenceService{Config: c, pages: s.pages, closing: closing})
	simpv1.RegisterMessageServiceServer(s.grpc, &messageService{Config: c})
	simpv1.RegisterAccountServiceServer(s.grpc, newAccountService(c, s.pages))
	simpv1.RegisterClusterServiceServer(s.grpc, &clusterService{Config: c, pages: s.pages})
	healthv1.RegisterHealthServer(s.grpc, s.health)
	registerReflection(s.grpc)
	s.SetServing(false)
	return s
}

func options(c Config, g *gate) []grpc.ServerOption {
	o := []grpc.ServerOption{
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxReceive),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingMinimum, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.ChainUnaryInterceptor(g.unary),
		grpc.ChainStreamInterceptor(g.stream),
		grpc.WaitForHandlers(true),
	}
	if c.TLS != nil {
		o = append(o, grpc.Creds(credentials.NewTLS(c.TLS)))
	}
	return o
}

// Serve answers calls on l until Shutdown, and then returns nil. It owns l.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

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

// Shutdown ends every Watch, lets other calls that are under way end until ctx
// does, then ends them. It returns when nothing runs any more.
func (s *Server) Shutdown(ctx context.Context) {
	s.health.Shutdown()
	s.close()
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.grpc.GracefulStop() }()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
		<-stopped
	}
	s.pages.close()
}
