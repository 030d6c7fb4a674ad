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

// Propose has node, the leader, commit batches; nil once it has applied them.
// Errors: ErrUnavailable (NotLeaderError among them): certainly not applied;
// all others are ErrUnknown.
func (l *Link) Propose(ctx context.Context, node string, b []*storev1.Batch) error {
	return l.call(ctx, node, ErrUnknown, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := c.Propose(ctx, &clusterv1.ProposeRequest{Batch: b})
		return r.GetRefusal(), err
	})
}

// ReadIndex asks node, the leader, for an index that no acknowledged change
// is beyond. Errors are ErrUnavailable.
func (l *Link) ReadIndex(ctx context.Context, node string) (index uint64, err error) {
	err = l.call(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := c.ReadIndex(ctx, &clusterv1.ReadIndexRequest{})
		index = r.GetIndex()
		return r.GetRefusal(), err
	})
	return index, err
}

// Applied returns nil once node's table has reached index. Errors are ErrUnavailable.
func (l *Link) Applied(ctx context.Context, node string, index uint64) error {
	return l.call(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := c.Applied(ctx, &clusterv1.AppliedRequest{Index: index})
		return r.GetRefusal(), err
	})
}

// Watchers says who watches user through node. Errors are ErrUnavailable.
func (l *Link) Watchers(ctx context.Context, node string, user protocol.Address) (by []protocol.Address, err error) {
	err = l.call(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
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

// Kick closes the user's connections on node, or only that of session s, and
// says how many. Errors: ErrUnavailable if certainly none was, or ErrUnknown.
func (l *Link) Kick(ctx context.Context, node string, user protocol.Address, s *store.Session) (closed int, err error) {
	request := &clusterv1.KickRequest{User: user.String()}
	if s != nil {
		request.Session = &storev1.Session{Node: s.Node, Epoch: s.Epoch, Number: s.Number}
	}
	err = l.call(ctx, node, ErrUnknown, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := c.Kick(ctx, request)
		closed = int(r.GetClosed())
		return nil, err
	})
	return closed, err
}

// Status asks node how it is. Errors are ErrUnavailable.
func (l *Link) Status(ctx context.Context, node string) (s *clusterv1.StatusResponse, err error) {
	err = l.call(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (_ *clusterv1.Refusal, err error) {
		s, err = c.Status(ctx, &clusterv1.StatusRequest{})
		return nil, err
	})
	return s, err
}

// Probe asks node what it has, before a site is formed. Errors are ErrUnavailable.
func (l *Link) Probe(ctx context.Context, node string) (p *clusterv1.ProbeResponse, err error) {
	err = l.call(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (_ *clusterv1.Refusal, err error) {
		p, err = c.Probe(ctx, &clusterv1.ProbeRequest{})
		return nil, err
	})
	return p, err
}

// Copy asks node for its table, which holds at least entry log of Raft's log,
// writes it to w, and says which is the newest entry in it. Errors are
// ErrUnavailable; w may have been written to.
func (l *Link) Copy(ctx context.Context, node string, log uint64, w io.Writer) (newest uint64, err error) {
	err = l.call(ctx, node, ErrUnavailable, func(c clusterv1.PeerClient) (*clusterv1.Refusal, error) {
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

// Command has node do an act of administration. Errors: ErrUnavailable
// (NotLeaderError among them) and ErrRefused: certainly not done; all others
// are ErrUnknown.
func (l *Link) Command(ctx context.Context, node string, c *clusterv1.CommandRequest) error {
	return l.call(ctx, node, ErrUnknown, func(client clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := client.Command(ctx, c)
		return r.GetRefusal(), err
	})
}

// call asks a node something once it is connected. What went wrong before
// that is ErrUnavailable; what the node refused is what it said; where its
// answer is missing the error is lost.
func (l *Link) call(ctx context.Context, node string, lost error, ask func(clusterv1.PeerClient) (*clusterv1.Refusal, error)) error {
	p, err := l.peers.reachable(node)
	if err != nil {
		return err
	}
	client, err := p.ready(ctx)
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
	return errorOf(node, refusal)
}

// ready returns the connection for calls once it is up. gRPC itself does not
// tell an unsent call from a lost one, so nothing is asked before.
func (p *peer) ready(ctx context.Context) (*grpc.ClientConn, error) {
	c, err := p.callConn()
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

func (p *peer) callConn() (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil, errNoAddress
	}
	if p.calls != nil {
		return p.calls, nil
	}
	c, err := p.link.client(func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := p.link.dial(ctx, p.id, "", callProtocol)
		if err != nil {
			return nil, err // not a net.Conn that is no connection
		}
		return conn, nil
	})
	p.calls = c
	return c, err
}

// dropCalls ends the connection for calls and all that wait on it: the node
// does not answer, and a new connection is needed once it does.
func (p *peer) dropCalls() {
	p.mu.Lock()
	c := p.calls
	p.calls = nil
	p.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// end is dropCalls for good.
func (p *peer) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.dropCalls()
}

// client makes a gRPC client whose connections come from dial, introduced.
func (l *Link) client(dial func(context.Context, string) (net.Conn, error)) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///node",
		grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(introduced{}),
		grpc.WithPerRPCCredentials(bootNumber(l.config.Member.Boot)),
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
