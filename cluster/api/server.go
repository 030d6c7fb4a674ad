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
	"google.golang.org/grpc/reflection"

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
}

// New makes a Server that serves nothing yet. Its health is NOT_SERVING.
func New(c Config) *Server {
	s := &Server{health: health.NewServer(), pages: newPages(c.Table)}
	g := newGate(c)
	s.grpc = grpc.NewServer(options(c, g)...)
	register(s.grpc, c, s.pages)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.SetServing(false)
	return s
}

// register adds the services, and nothing that is not in the table of roles.
func register(r grpc.ServiceRegistrar, c Config, p *pages) {
	simpv1.RegisterPresenceServiceServer(r, &presenceService{Config: c, pages: p})
	simpv1.RegisterMessageServiceServer(r, &messageService{Config: c})
	simpv1.RegisterAccountServiceServer(r, newAccountService(c, p))
	simpv1.RegisterClusterServiceServer(r, &clusterService{Config: c, pages: p})
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

// Shutdown lets calls that are under way end until ctx does, then ends them:
// a Watch only ends so. It returns when nothing runs any more.
func (s *Server) Shutdown(ctx context.Context) {
	s.health.Shutdown()
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
