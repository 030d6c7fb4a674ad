package link

import (
	"context"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// peerService implements the gRPC service for other nodes.
type peerService struct {
	clusterv1.UnimplementedPeerServer
	link *Link
}

func (s peerService) Messages(stream grpc.BidiStreamingServer[clusterv1.Frame, clusterv1.Answer]) error {
	in := &inboundStream{link: s.link, from: callerNode(stream.Context()), grpc: stream, wake: make(chan struct{}, 1)}
	return in.serve()
}

func (s peerService) handler() Handler { return s.link.config.Handler }

func (s peerService) Propose(ctx context.Context, r *clusterv1.ProposeRequest) (*clusterv1.ProposeResponse, error) {
	err := s.handler().Propose(ctx, callerNode(ctx), r.Batch)
	return &clusterv1.ProposeResponse{Refusal: encodeError(err, clusterv1.Refusal_REASON_UNKNOWN)}, nil
}

func (s peerService) ReadIndex(ctx context.Context, _ *clusterv1.ReadIndexRequest) (*clusterv1.ReadIndexResponse, error) {
	index, err := s.handler().ReadIndex(ctx)
	return &clusterv1.ReadIndexResponse{Index: index, Refusal: encodeError(err, clusterv1.Refusal_REASON_UNAVAILABLE)}, nil
}

func (s peerService) Applied(ctx context.Context, r *clusterv1.AppliedRequest) (*clusterv1.AppliedResponse, error) {
	err := s.handler().Applied(ctx, r.Index)
	return &clusterv1.AppliedResponse{Refusal: encodeError(err, clusterv1.Refusal_REASON_UNAVAILABLE)}, nil
}

func (s peerService) Watchers(_ context.Context, r *clusterv1.WatchersRequest) (*clusterv1.WatchersResponse, error) {
	user, err := protocol.ParseAddress(r.User)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	response := &clusterv1.WatchersResponse{}
	for _, by := range s.handler().Watchers(user) {
		response.By = append(response.By, by.String())
	}
	return response, nil
}

func (s peerService) Kick(_ context.Context, r *clusterv1.KickRequest) (*clusterv1.KickResponse, error) {
	user, err := protocol.ParseAddress(r.User)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	var session *store.Session
	if r.Session != nil {
		session = &store.Session{Node: r.Session.Node, Epoch: r.Session.Epoch, Number: r.Session.Number}
	}
	return &clusterv1.KickResponse{Closed: uint32(s.handler().Kick(user, session))}, nil
}

func (s peerService) Status(ctx context.Context, _ *clusterv1.StatusRequest) (*clusterv1.StatusResponse, error) {
	return s.handler().Status(ctx)
}

func (s peerService) Probe(ctx context.Context, _ *clusterv1.ProbeRequest) (*clusterv1.ProbeResponse, error) {
	return s.handler().Probe(ctx, callerNode(ctx))
}

func (s peerService) Command(ctx context.Context, r *clusterv1.CommandRequest) (*clusterv1.CommandResponse, error) {
	err := s.handler().Command(ctx, callerNode(ctx), r)
	return &clusterv1.CommandResponse{Refusal: encodeError(err, clusterv1.Refusal_REASON_UNKNOWN)}, nil
}

func (s peerService) Copy(r *clusterv1.CopyRequest, stream grpc.ServerStreamingServer[clusterv1.CopyResponse]) error {
	return s.handler().Copy(stream.Context(), r.Log, func(log uint64, octets []byte) error {
		return stream.Send(&clusterv1.CopyResponse{Log: log, Octets: octets})
	})
}

// peerMethods returns the methods that a member may call; there are no
// others. Those with the value true may also be called by a node that wants
// to join: it has a certificate of the site, and its ID was not removed. On
// its stream it learns who belongs to the site and delivers nothing; its
// commands and probes are restricted where they are handled.
func peerMethods() map[string]bool {
	return map[string]bool{
		clusterv1.Peer_Messages_FullMethodName:  true,
		clusterv1.Peer_Propose_FullMethodName:   false,
		clusterv1.Peer_ReadIndex_FullMethodName: false,
		clusterv1.Peer_Applied_FullMethodName:   false,
		clusterv1.Peer_Watchers_FullMethodName:  false,
		clusterv1.Peer_Kick_FullMethodName:      false,
		clusterv1.Peer_Status_FullMethodName:    false,
		clusterv1.Peer_Probe_FullMethodName:     true,
		clusterv1.Peer_Command_FullMethodName:   true,
		clusterv1.Peer_Copy_FullMethodName:      false,
	}
}

// newServer returns the gRPC server for other nodes. Its limits protect this
// node from a faulty one.
func newServer(l *Link) *grpc.Server {
	methods := peerMethods()
	may := func(ctx context.Context, method string) error {
		node := callerNode(ctx)
		if forAll, ok := methods[method]; node == "" || !ok || !forAll && !l.members.isMember(node) {
			return status.Errorf(codes.PermissionDenied, "%s is not for you", method)
		}
		if method != clusterv1.Peer_Messages_FullMethodName && method != clusterv1.Peer_Probe_FullMethodName && !l.processes.isCurrent(node, callerIncarnation(ctx)) {
			return status.Errorf(codes.PermissionDenied, "another process runs as node %s", node)
		}
		return nil
	}
	s := grpc.NewServer(
		grpc.Creds(nodeCredentials{}),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.MaxConcurrentStreams(1000),
		grpc.MaxRecvMsgSize(maxCall),
		grpc.MaxHeaderListSize(16<<10),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window),
		grpc.ReadBufferSize(buffer), grpc.WriteBufferSize(buffer),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(func(ctx context.Context, r any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			if err := may(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return h(ctx, r)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			if err := may(stream.Context(), info.FullMethod); err != nil {
				return err
			}
			return h(srv, stream)
		}),
	)
	clusterv1.RegisterPeerServer(s, peerService{link: l})
	return s
}

// Sizes of gRPC in octets.
const (
	maxCall = 4 << 20
	window  = 1 << 20
	buffer  = 64 << 10
)

// nodeCredentials lets gRPC use connections on which the mux has performed
// the handshake, and tells which node is at the other end.
type nodeCredentials struct{}

type nodeInfo struct {
	credentials.CommonAuthInfo
	node string
}

func (nodeInfo) AuthType() string { return "simp-node" }

func (nodeCredentials) authenticate(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	p, ok := c.(*peerConn)
	if !ok {
		return nil, nil, status.Error(codes.Unauthenticated, "the connection did not come through the mux")
	}
	return c, nodeInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, p.node}, nil
}

func (i nodeCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return i.authenticate(c)
}

func (i nodeCredentials) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return i.authenticate(c)
}

func (nodeCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "simp-node"}
}

// OverrideServerName is required by the interface only.
func (nodeCredentials) OverrideServerName(string) error { return nil }

func (i nodeCredentials) Clone() credentials.TransportCredentials { return i }

// incarnationCredentials adds this process's incarnation to each call.
type incarnationCredentials uint64

const incarnationKey = "simp-boot"

func (b incarnationCredentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{incarnationKey: strconv.FormatUint(uint64(b), 10)}, nil
}

func (incarnationCredentials) RequireTransportSecurity() bool { return false } // the mux has seen to it

// callerIncarnation returns the incarnation of the calling process; 0 if its
// version does not send it.
func callerIncarnation(ctx context.Context) uint64 {
	for _, s := range metadata.ValueFromIncomingContext(ctx, incarnationKey) {
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// callerNode returns the calling node, empty if there was no handshake.
func callerNode(ctx context.Context) string {
	if p, ok := grpcpeer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(nodeInfo); ok {
			return info.node
		}
	}
	return ""
}
