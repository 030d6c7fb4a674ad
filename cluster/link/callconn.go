package link

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
)

// CallConn returns the connection for calls to node once it is ready; see
// package peerrpc. After an error nothing was sent to the node.
func (l *Link) CallConn(ctx context.Context, node string) (*grpc.ClientConn, error) {
	if l.isAlone {
		return nil, errAlone
	}
	p, err := l.peers.getReachable(node)
	if err != nil {
		return nil, err
	}
	return p.callClient(ctx)
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
