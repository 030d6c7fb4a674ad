package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// clusterService implements the service by which operators control the site.
type clusterService struct {
	simpv1.UnimplementedClusterServiceServer
	Config
	pages *pages
}

// maxDrain is the longest that clients may be given to move.
const maxDrain = time.Hour

// Status tells how the site and its nodes are.
func (s *clusterService) Status(ctx context.Context, _ *simpv1.StatusRequest) (*simpv1.StatusResponse, error) {
	nodes, differences, err := s.Cluster.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	v := s.Table.View()
	resp := &simpv1.StatusResponse{
		Site: s.Site, Domain: s.Domains, Position: positionOf(v), Node: nodes, Difference: differences,
		AnsweredBy: s.NodeID, Schema: v.Schema(),
	}
	s.countTable(resp, v)
	assessSite(resp)
	return resp, nil
}

// countTable fills in what the table knows. It reads no listener: a site may have
// a million.
func (s *clusterService) countTable(resp *simpv1.StatusResponse, v store.View) {
	accounts, listeners := v.Len()
	resp.Accounts, resp.Listeners = uint64(accounts), uint64(listeners)
	for _, n := range resp.Node {
		n.Sessions = uint64(s.Table.Bindings(n.Id))
		if known, ok := v.Node(n.Id); ok {
			n.Epoch = known.Epoch
		}
	}
}

// assessSite says what the state of the nodes means for the site.
func assessSite(resp *simpv1.StatusResponse) {
	var voters, able, unready int
	for _, n := range resp.Node {
		if n.Role == simpv1.NodeRole_NODE_ROLE_LEADER {
			resp.Leader = n.Id
		}
		up := n.State == simpv1.NodeState_NODE_STATE_READY || n.State == simpv1.NodeState_NODE_STATE_DRAINING
		if n.Role == simpv1.NodeRole_NODE_ROLE_LEADER || n.Role == simpv1.NodeRole_NODE_ROLE_FOLLOWER {
			voters++
			if up {
				able++
			}
		}
		if n.State != simpv1.NodeState_NODE_STATE_READY {
			unready++
		}
	}
	resp.SpareVoters = uint32(max(0, able-(voters/2+1)))
	resp.Health = healthOf(resp, voters, able, unready)
	resp.Summary = summaryOf(resp, voters, able, unready)
}

func healthOf(resp *simpv1.StatusResponse, voters, able, unready int) simpv1.Health {
	switch {
	case voters == 0 && resp.Position.GetHistory() == "":
		return simpv1.Health_HEALTH_NOT_FORMED
	case able < voters/2+1 || resp.Leader == "":
		return simpv1.Health_HEALTH_NO_MAJORITY
	case unready > 0:
		return simpv1.Health_HEALTH_DEGRADED
	}
	return simpv1.Health_HEALTH_HEALTHY
}

func summaryOf(resp *simpv1.StatusResponse, voters, able, unready int) string {
	of := fmt.Sprintf("%d of %d voters", able, voters)
	switch {
	case resp.Health == simpv1.Health_HEALTH_NOT_FORMED:
		return "no site has been formed yet: " + describeExpectations(resp.Node)
	case resp.Health == simpv1.Health_HEALTH_HEALTHY:
		return fmt.Sprintf("healthy: %s, can lose %d", of, resp.SpareVoters)
	case resp.Health == simpv1.Health_HEALTH_DEGRADED:
		return fmt.Sprintf("degraded: %d of %d nodes not ready; %s, can lose %d", unready, len(resp.Node), of, resp.SpareVoters)
	case able < voters/2+1:
		return fmt.Sprintf("the majority is lost: %s; nothing can be changed", of)
	}
	return fmt.Sprintf("no leader is known: %s", of)
}

// describeExpectations says which nodes are seen, and how many each expects.
func describeExpectations(nodes []*simpv1.NodeStatus) string {
	var all []string
	for _, n := range nodes {
		switch {
		case n.State == simpv1.NodeState_NODE_STATE_DOWN:
			all = append(all, n.Id+" does not answer")
		case n.BootstrapExpect == 0:
			all = append(all, n.Id+" has no bootstrap_expect")
		default:
			all = append(all, fmt.Sprintf("%s expects %d", n.Id, n.BootstrapExpect))
		}
	}
	return strings.Join(all, ", ")
}

// Drain moves a node's clients and its leadership away.
func (s *clusterService) Drain(r *simpv1.DrainRequest, stream grpc.ServerStreamingServer[simpv1.DrainResponse]) error {
	ctx := stream.Context()
	f := &fields{}
	node := f.requiredName("node", r.Node)
	timeout := f.durationWithin("timeout", r.Timeout, 0, time.Second, maxDrain)
	setAuditTarget(ctx, r.Node)
	if err := f.err(); err != nil {
		return err
	}
	// The drain goes on if nobody looks: a response that can't be sent is no error.
	last := &simpv1.DrainResponse{}
	err := s.Cluster.Drain(ctx, node, timeout, func(p *simpv1.DrainResponse) {
		last = p
		setDone(ctx, "the drain of %s has begun, and %d of %d clients are left", node, p.Left, p.Total)
		_ = stream.Send(&simpv1.DrainResponse{Total: p.Total, Left: p.Left, Leader: p.Leader})
	})
	if err != nil {
		return err
	}
	return stream.Send(&simpv1.DrainResponse{Total: last.Total, Left: last.Left, Leader: last.Leader, Done: true})
}

// Undrain lets a node take clients again.
func (s *clusterService) Undrain(ctx context.Context, r *simpv1.UndrainRequest) (*simpv1.UndrainResponse, error) {
	node, err := s.resolveNode(ctx, r.Node)
	if err != nil {
		return nil, err
	}
	return &simpv1.UndrainResponse{}, s.Cluster.Undrain(ctx, node)
}

// TransferLeadership makes another voter the leader.
func (s *clusterService) TransferLeadership(ctx context.Context, r *simpv1.TransferLeadershipRequest) (*simpv1.TransferLeadershipResponse, error) {
	setAuditTarget(ctx, r.Node)
	leader, err := s.Cluster.TransferLeadership(ctx, r.Node)
	setAuditTarget(ctx, leader)
	return &simpv1.TransferLeadershipResponse{Leader: leader}, err
}

// RemoveNode takes a node out of the site, and revokes all sessions of consoles:
// the node's disk has what their key is made of.
func (s *clusterService) RemoveNode(ctx context.Context, r *simpv1.RemoveNodeRequest) (*simpv1.RemoveNodeResponse, error) {
	node, err := s.resolveNode(ctx, r.Node)
	if err != nil {
		return nil, err
	}
	if err := s.Cluster.RemoveNode(ctx, node); err != nil {
		return nil, err
	}
	return &simpv1.RemoveNodeResponse{}, s.revokeConsoleAfterRemoval(ctx, node)
}

// AdmitNode lets a node that was removed join again.
func (s *clusterService) AdmitNode(ctx context.Context, r *simpv1.AdmitNodeRequest) (*simpv1.AdmitNodeResponse, error) {
	node, err := s.resolveNode(ctx, r.Node)
	if err != nil {
		return nil, err
	}
	return &simpv1.AdmitNodeResponse{}, s.Cluster.AdmitNode(ctx, node)
}

func (s *clusterService) resolveNode(ctx context.Context, id string) (string, error) {
	f := &fields{}
	f.requiredName("node", id)
	setAuditTarget(ctx, id)
	return id, f.err()
}

// KickSession closes a session's connection, or all of a user's.
func (s *clusterService) KickSession(ctx context.Context, r *simpv1.KickSessionRequest) (*simpv1.KickSessionResponse, error) {
	setAuditTarget(ctx, r.GetIma()+r.GetSession())
	if err := s.inTouch(false); err != nil {
		return nil, err
	}
	user, session, err := s.kickTarget(r)
	if err != nil {
		return nil, err
	}
	closed, err := s.Cluster.Kick(ctx, user, session)
	if closed > 0 {
		setDone(ctx, "%d connections are closed; repeat the call", closed)
	}
	return &simpv1.KickSessionResponse{Closed: uint32(closed)}, err
}

// kickTarget finds whom to disconnect; the session is nil for all of a user's.
func (s *clusterService) kickTarget(r *simpv1.KickSessionRequest) (protocol.Address, *store.Session, error) {
	f := &fields{domains: s.Domains}
	if r.GetSession() == "" {
		user := f.localUser("ima", r.GetIma())
		if _, ok := s.Table.Account(user); !ok && f.err() == nil {
			return user, nil, noSuchAccount(user)
		}
		return user, nil, f.err()
	}
	session, err := store.ParseSession(r.GetSession())
	if err != nil {
		f.addViolation("session", "%s", err)
		return protocol.Address{}, nil, f.err()
	}
	user, ok := sessionOwner(s.Table.View(), session)
	if !ok {
		return user, nil, statusWithDetails(codes.NotFound, fmt.Sprintf("no session %s listens", session), reasonNoSession.errorInfo())
	}
	return user, &session, nil
}
