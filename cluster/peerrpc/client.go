// Package peerrpc is the calls between the nodes of a site: the client of the
// gRPC service Peer, and how errors cross. The server is in package cluster,
// which does what is asked; its connections and its stream of messages are
// those of package link.
package peerrpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// Conns provides the connections for calls.
type Conns interface {
	// CallConn returns the connection to node once it is ready. After an error
	// nothing was sent.
	CallConn(ctx context.Context, node string) (*grpc.ClientConn, error)
}

// Client calls other nodes. Any goroutine may call its methods.
type Client struct{ conns Conns }

// NewClient returns a client that uses these connections.
func NewClient(c Conns) *Client { return &Client{c} }

// Propose asks node, the leader, to commit batches, and returns nil once it
// has applied them. An error that is ErrUnavailable (as NotLeaderError is)
// means that they were certainly not applied; any other error is ErrUnknown.
func (c *Client) Propose(ctx context.Context, node string, b []*storev1.Batch) error {
	return c.call(ctx, node, ErrUnknown, func(p clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := p.Propose(ctx, &clusterv1.ProposeRequest{Batch: b})
		return r.GetRefusal(), err
	})
}

// ReadIndex asks node, the leader, for an index that no acknowledged change
// exceeds. Errors are ErrUnavailable.
func (c *Client) ReadIndex(ctx context.Context, node string) (index uint64, err error) {
	err = c.call(ctx, node, ErrUnavailable, func(p clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := p.ReadIndex(ctx, &clusterv1.ReadIndexRequest{})
		index = r.GetIndex()
		return r.GetRefusal(), err
	})
	return index, err
}

// Applied returns nil once node's table has reached index. Errors are ErrUnavailable.
func (c *Client) Applied(ctx context.Context, node string, index uint64) error {
	return c.call(ctx, node, ErrUnavailable, func(p clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := p.Applied(ctx, &clusterv1.AppliedRequest{Index: index})
		return r.GetRefusal(), err
	})
}

// Watchers asks node who watches user there. Errors are ErrUnavailable.
func (c *Client) Watchers(ctx context.Context, node string, user protocol.Address) (by []protocol.Address, err error) {
	err = c.call(ctx, node, ErrUnavailable, func(p clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := p.Watchers(ctx, &clusterv1.WatchersRequest{User: user.String()})
		for _, s := range r.GetBy() {
			by = append(by, protocol.CanonicalAddress(s))
		}
		return nil, err
	})
	return by, err
}

// Kick closes the user's connections on node, or only the one with session s,
// and returns how many it closed. An error is ErrUnavailable if certainly
// none was closed, and otherwise ErrUnknown.
func (c *Client) Kick(ctx context.Context, node string, user protocol.Address, s *store.Session) (closed int, err error) {
	request := &clusterv1.KickRequest{User: user.String()}
	if s != nil {
		request.Session = store.SessionProto(*s)
	}
	err = c.call(ctx, node, ErrUnknown, func(p clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		r, err := p.Kick(ctx, request)
		closed = int(r.GetClosed())
		return nil, err
	})
	return closed, err
}

// Status returns node's status. Errors are ErrUnavailable.
func (c *Client) Status(ctx context.Context, node string) (s *clusterv1.StatusResponse, err error) {
	err = c.call(ctx, node, ErrUnavailable, func(p clusterv1.PeerClient) (_ *clusterv1.Refusal, err error) {
		s, err = p.Status(ctx, &clusterv1.StatusRequest{})
		return nil, err
	})
	return s, err
}

// Observe asks node what only it knows, for operators. Errors are
// ErrUnavailable.
func (c *Client) Observe(ctx context.Context, node string, r *clusterv1.ObserveRequest) (found *clusterv1.ObserveResponse, err error) {
	err = c.call(ctx, node, ErrUnavailable, func(p clusterv1.PeerClient) (_ *clusterv1.Refusal, err error) {
		found, err = p.Observe(ctx, r)
		return nil, err
	})
	return found, err
}

// Probe asks node what data it has, before a site is formed. Errors are
// ErrUnavailable.
func (c *Client) Probe(ctx context.Context, node string) (r *clusterv1.ProbeResponse, err error) {
	err = c.call(ctx, node, ErrUnavailable, func(p clusterv1.PeerClient) (_ *clusterv1.Refusal, err error) {
		r, err = p.Probe(ctx, &clusterv1.ProbeRequest{})
		return nil, err
	})
	return r, err
}

// Copy writes a copy of node's table, containing at least Raft log entry log,
// to w, and returns the newest log entry in it. Errors are ErrUnavailable; w
// may have been written to.
func (c *Client) Copy(ctx context.Context, node string, log uint64, w io.Writer) (newest uint64, err error) {
	err = c.call(ctx, node, ErrUnavailable, func(p clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		stream, err := p.Copy(ctx, &clusterv1.CopyRequest{Log: log})
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
func (c *Client) Command(ctx context.Context, node string, r *clusterv1.CommandRequest) error {
	return c.call(ctx, node, ErrUnknown, func(p clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		answer, err := p.Command(ctx, r)
		return answer.GetRefusal(), err
	})
}

// SourceKeys asks node, the leader, for the keys of the provider of an account
// source. An error that is ErrRefused means that the node has no such keys; all
// others are ErrUnavailable.
func (c *Client) SourceKeys(ctx context.Context, node string, r *clusterv1.SourceKeysRequest) (keys *clusterv1.ProviderKeys, err error) {
	err = c.call(ctx, node, ErrUnavailable, func(p clusterv1.PeerClient) (*clusterv1.Refusal, error) {
		answer, err := p.SourceKeys(ctx, r)
		if status.Code(err) == codes.Unimplemented { // an older version
			return &clusterv1.Refusal{Reason: clusterv1.Refusal_REASON_REFUSED, Text: "its version does not share keys"}, nil
		}
		keys = answer.GetKeys()
		return answer.GetRefusal(), err
	})
	return keys, err
}

// call calls node once it is connected. An error before that is
// ErrUnavailable; a refusal by the node is returned as it was sent; if the
// response is lost, the error is lost.
func (c *Client) call(ctx context.Context, node string, lost error, ask func(clusterv1.PeerClient) (*clusterv1.Refusal, error)) error {
	conn, err := c.conns.CallConn(ctx, node)
	if err != nil {
		return fmt.Errorf("node %s: %w: %w", node, ErrUnavailable, err)
	}
	refusal, err := ask(clusterv1.NewPeerClient(conn))
	if status.Code(err) == codes.PermissionDenied {
		lost = ErrUnavailable // before anything was done
	}
	if err != nil {
		return fmt.Errorf("node %s: %w: %w", node, lost, err)
	}
	return decodeError(node, refusal)
}
