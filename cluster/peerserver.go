package cluster

import (
	"context"

	"google.golang.org/grpc"

	"simpd/cluster/link"
	"simpd/cluster/peerrpc"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// peerServer serves the calls of other nodes; they call by peerrpc.Client.
type peerServer struct {
	clusterv1.UnimplementedPeerServer
	n *Node
}

// Propose commits batches as the leader, and answers when all are applied
// here.
func (s peerServer) Propose(ctx context.Context, r *clusterv1.ProposeRequest) (*clusterv1.ProposeResponse, error) {
	err := s.n.batcher.SubmitAll(ctx, link.CallerNode(ctx), r.Batch)
	return &clusterv1.ProposeResponse{Refusal: peerrpc.EncodeError(err, clusterv1.Refusal_REASON_UNKNOWN)}, nil
}

// ReadIndex confirms that this node leads, and answers with an index that no
// acknowledged change exceeds.
func (s peerServer) ReadIndex(ctx context.Context, _ *clusterv1.ReadIndexRequest) (*clusterv1.ReadIndexResponse, error) {
	index, err := s.n.readIndex(ctx)
	return &clusterv1.ReadIndexResponse{Index: index, Refusal: peerrpc.EncodeError(err, clusterv1.Refusal_REASON_UNAVAILABLE)}, nil
}

// Applied answers once this node's table has reached the index.
func (s peerServer) Applied(ctx context.Context, r *clusterv1.AppliedRequest) (*clusterv1.AppliedResponse, error) {
	err := s.n.appliedHere(ctx, r.Index)
	return &clusterv1.AppliedResponse{Refusal: peerrpc.EncodeError(err, clusterv1.Refusal_REASON_UNAVAILABLE)}, nil
}

// Watchers answers who watches a user on this node.
func (s peerServer) Watchers(_ context.Context, r *clusterv1.WatchersRequest) (*clusterv1.WatchersResponse, error) {
	response := &clusterv1.WatchersResponse{}
	for _, by := range s.n.cfg.Receiver.WatchersOf(protocol.CanonicalAddress(r.User)) {
		response.By = append(response.By, by.String())
	}
	return response, nil
}

// Kick closes a user's connections here, or only the one of a session.
func (s peerServer) Kick(_ context.Context, r *clusterv1.KickRequest) (*clusterv1.KickResponse, error) {
	var session *store.Session
	if r.Session != nil {
		s := store.SessionFromProto(r.Session)
		session = &s
	}
	return &clusterv1.KickResponse{Closed: uint32(s.n.cfg.Receiver.Kick(protocol.CanonicalAddress(r.User), session))}, nil
}

// Status answers with this node's status.
func (s peerServer) Status(context.Context, *clusterv1.StatusRequest) (*clusterv1.StatusResponse, error) {
	return s.n.statusResponse(), nil
}

// Observe answers with what operators ask of this node.
func (s peerServer) Observe(_ context.Context, r *clusterv1.ObserveRequest) (*clusterv1.ObserveResponse, error) {
	return s.n.observeHere(r), nil
}

// Probe answers what data this node has; details of the site only to its
// nodes.
func (s peerServer) Probe(ctx context.Context, _ *clusterv1.ProbeRequest) (*clusterv1.ProbeResponse, error) {
	return s.n.probeResponse(link.CallerNode(ctx)), nil
}

// Command performs an administrative command for another node.
func (s peerServer) Command(ctx context.Context, r *clusterv1.CommandRequest) (*clusterv1.CommandResponse, error) {
	err := s.n.performCommand(ctx, link.CallerNode(ctx), r)
	return &clusterv1.CommandResponse{Refusal: peerrpc.EncodeError(err, clusterv1.Refusal_REASON_UNKNOWN)}, nil
}

// SourceKeys answers with the keys of a provider, if this node leads.
func (s peerServer) SourceKeys(ctx context.Context, r *clusterv1.SourceKeysRequest) (*clusterv1.SourceKeysResponse, error) {
	keys, err := s.n.sourceKeysHere(ctx, r)
	return &clusterv1.SourceKeysResponse{Keys: keys, Refusal: peerrpc.EncodeError(err, clusterv1.Refusal_REASON_UNAVAILABLE)}, nil
}

// Copy sends this node's table once it contains a log entry, in pieces that
// each name the newest entry in the copy.
func (s peerServer) Copy(r *clusterv1.CopyRequest, stream grpc.ServerStreamingServer[clusterv1.CopyResponse]) error {
	return s.n.writeTable(stream.Context(), r.Log, func(newest uint64, octets []byte) error {
		return stream.Send(&clusterv1.CopyResponse{Log: newest, Octets: octets})
	})
}
