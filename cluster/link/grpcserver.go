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
	"simpd/protocol/wait"
)

// peerService is the gRPC service for other nodes: the stream of messages
// here, and the calls as Config.Calls serves them.
type peerService struct {
	clusterv1.PeerServer
	link *Link
}

// Messages serves the stream of another node.
func (s peerService) Messages(stream grpc.BidiStreamingServer[clusterv1.Frame, clusterv1.Answer]) error {
	in := &inboundStream{link: s.link, from: CallerNode(stream.Context()), grpc: stream, wake: wait.NewSignal()}
	return in.serve()
}

// joinMethods are the methods that a node that wants to join may call, too: it
// has a certificate of the site, and its ID was not removed. On its stream it
// learns who belongs to the site and delivers nothing; its commands and probes
// are restricted where they are served. All other methods are for members.
var joinMethods = map[string]bool{
	clusterv1.Peer_Messages_FullMethodName: true,
	clusterv1.Peer_Probe_FullMethodName:    true,
	clusterv1.Peer_Command_FullMethodName:  true,
}

// checkCaller returns why the caller may not call a method.
func (l *Link) checkCaller(ctx context.Context, method string) error {
	node := CallerNode(ctx)
	if node == "" || !joinMethods[method] && !l.members.isMember(node) {
		return status.Errorf(codes.PermissionDenied, "%s is not for you", method)
	}
	if method != clusterv1.Peer_Messages_FullMethodName && method != clusterv1.Peer_Probe_FullMethodName && !l.processes.isCurrent(node, callerIncarnation(ctx)) {
		return status.Errorf(codes.PermissionDenied, "another process runs as node %s", node)
	}
	return nil
}

// newServer returns the gRPC server for other nodes. Its limits protect this
// node from a faulty one.
func newServer(l *Link) *grpc.Server {
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
			if err := l.checkCaller(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return h(ctx, r)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			if err := l.checkCaller(stream.Context(), info.FullMethod); err != nil {
				return err
			}
			return h(srv, stream)
		}),
	)
	clusterv1.RegisterPeerServer(s, peerService{l.config.Calls, l})
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

// CallerNode returns the calling node, empty if there was no handshake.
func CallerNode(ctx context.Context) string {
	if p, ok := grpcpeer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(nodeInfo); ok {
			return info.node
		}
	}
	return ""
}
