package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// Propose asks node, the leader, to commit batches, and returns nil once it
// has applied them. An error that is ErrUnavailable (as NotLeaderError is)
// means that they were certainly not applied; any other error is ErrUnknown.
func (l *Link) Propose(ctx context.Context, node string, b []*storev1.Batch) error {
	return l.callPeer(ctx, node, ErrUnknown, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := c.Propose(ctx, &clusterv1.ProposeRequest{Batch: b})
		return r.GetRefusal(), err
	})
}

// ReadIndex asks node, the leader, for an index that no acknowledged change
// exceeds. Errors are ErrUnavailable.
func (l *Link) ReadIndex(ctx context.Context, node string) (index uint64, err error) {
	err = l.callPeer(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := c.ReadIndex(ctx, &clusterv1.ReadIndexRequest{})
		index = r.GetIndex()
		return r.GetRefusal(), err
	})
	return index, err
}

// Applied returns nil once node's table has reached index. Errors are ErrUnavailable.
func (l *Link) Applied(ctx context.Context, node string, index uint64) error {
	return l.callPeer(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := c.Applied(ctx, &clusterv1.AppliedRequest{Index: index})
		return r.GetRefusal(), err
	})
}

// Watchers asks node who watches user there. Errors are ErrUnavailable.
func (l *Link) Watchers(ctx context.Context, node string, user protocol.Address) (by []protocol.Address, err error) {
	err = l.callPeer(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := c.Watchers(ctx, &clusterv1.WatchersRequest{User: user.String()})
		for _, s := range r.GetBy() {
			a, wrong := protocol.ParseAddress(s)
			if wrong != nil {
				return nil, wrong
			}
			by = append(by, a)
		}
		return nil, err
	})
	return by, err
}

// Kick closes the user's connections on node, or only the one with session s,
// and returns how many it closed. An error is ErrUnavailable if certainly
// none was closed, and otherwise ErrUnknown.
func (l *Link) Kick(ctx context.Context, node string, user protocol.Address, s *store.Session) (closed int, err error) {
	request := &clusterv1.KickRequest{User: user.String()}
	if s != nil {
		request.Session = &storev1.Session{Node: s.Node, Epoch: s.Epoch, Number: s.Number}
	}
	err = l.callPeer(ctx, node, ErrUnknown, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := c.Kick(ctx, request)
		closed = int(r.GetClosed())
		return nil, err
	})
	return closed, err
}

// Status returns node's status. Errors are ErrUnavailable.
func (l *Link) Status(ctx context.Context, node string) (s *clusterv1.StatusResponse, err error) {
	err = l.callPeer(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (_ *clusterv1.Refusal, err error) {
		s, err = c.Status(ctx, &clusterv1.StatusRequest{})
		return nil, err
	})
	return s, err
}

// Probe asks node what data it has, before a site is formed. Errors are
// ErrUnavailable.
func (l *Link) Probe(ctx context.Context, node string) (p *clusterv1.ProbeResponse, err error) {
	err = l.callPeer(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (_ *clusterv1.Refusal, err error) {
		p, err = c.Probe(ctx, &clusterv1.ProbeRequest{})
		return nil, err
	})
	return p, err
}

// Copy writes a copy of node's table, containing at least Raft log entry log,
// to w, and returns the newest log entry in it. Errors are ErrUnavailable; w
// may have been written to.
func (l *Link) Copy(ctx context.Context, node string, log uint64, w io.Writer) (newest uint64, err error) {
	err = l.callPeer(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		stream, err := c.Copy(ctx, &clusterv1.CopyRequest{Log: log})
		if err != nil {
			return nil, err
		}
		for {
			piece, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			newest = piece.Log
			if _, err := w.Write(piece.Octets); err != nil {
				return nil, err
			}
		}
	})
	return newest, err
}

// Command asks node to perform an administrative command. Errors that are
// ErrUnavailable (as NotLeaderError is) or ErrRefused mean that it was
// certainly not done; all others are ErrUnknown.
func (l *Link) Command(ctx context.Context, node string, c *clusterv1.CommandRequest) error {
	return l.callPeer(ctx, node, ErrUnknown, func(client clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := client.Command(ctx, c)
		return r.GetRefusal(), err
	})
}

// callPeer calls node once it is connected. An error before that is
// ErrUnavailable; a refusal by the node is returned as it was sent; if the
// response is lost, the error is lost.
func (l *Link) callPeer(ctx context.Context, node string, lost error, ask func(clusterv1.PeerClient) (*clusterv1.Refusal, error)) error {
	p, err := l.peers.getReachable(node)
	if err != nil {
		return err
	}
	client, err := p.callClient(ctx)
	if err != nil {
		return fmt.Errorf("node %s: %w: %w", node, ErrUnavailable, err)
	}
	refusal, err := ask(clusterv1.NewPeerClient(client))
	if status.Code(err) == codes.PermissionDenied {
		lost = ErrUnavailable // before anything was done
	}
	if err != nil {
		return fmt.Errorf("node %s: %w: %w", node, lost, err)
	}
	return decodeError(node, refusal)
}

// callClient returns the connection for calls once it is ready. gRPC does not
// distinguish a call that was not sent from one whose response was lost, so
// no call is made before.
func (p *peer) callClient(ctx context.Context) (*grpc.ClientConn, error) {
	c, err := p.dialCalls()
	if err != nil {
		return nil, err
	}
	for {
		switch s := c.GetState(); s {
		case connectivity.Ready:
			return c, nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return nil, fmt.Errorf("it can't be connected")
		case connectivity.Idle:
			c.Connect()
			fallthrough
		default:
			if !c.WaitForStateChange(ctx, s) {
				return nil, ctx.Err()
			}
		}
	}
}

func (p *peer) dialCalls() (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isShutDown {
		return nil, errNoAddress
	}
	if p.callConn != nil {
		return p.callConn, nil
	}
	c, err := p.link.newClient(func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := p.link.dial(ctx, p.id, "", callProtocol)
		if err != nil {
			return nil, err // not a net.Conn that is no connection
		}
		return conn, nil
	})
	p.callConn = c
	return c, err
}

// closeCalls closes the connection for calls, which fails all pending ones:
// the node does not answer, and a new connection is needed once it does.
func (p *peer) closeCalls() {
	p.mu.Lock()
	c := p.callConn
	p.callConn = nil
	p.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// shutdown closes the connection for calls for good.
func (p *peer) shutdown() {
	p.mu.Lock()
	p.isShutDown = true
	p.mu.Unlock()
	p.closeCalls()
}

// newClient returns a gRPC client whose connections come from dial, after the
// handshake.
func (l *Link) newClient(dial func(context.Context, string) (net.Conn, error)) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///node",
		grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(nodeCredentials{}),
		grpc.WithPerRPCCredentials(incarnationCredentials(l.config.Member.Incarnation)),
		grpc.WithIdleTimeout(0),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithReadBufferSize(buffer), grpc.WithWriteBufferSize(buffer),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxCall)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: dialTimeout,
		}),
	)
}
