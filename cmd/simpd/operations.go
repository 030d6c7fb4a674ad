package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"simpd/cluster"
	clusterv1 "simpd/proto/simp/cluster/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// operations is the site as operators control it, for the services for programs.
type operations struct{ *node }

// Nodes tells how each node is, and where their settings differ.
func (o operations) Nodes(ctx context.Context) (all []*simpv1.NodeStatus, differ []*simpv1.SettingDifference, err error) {
	nodes := o.cluster.Status(ctx)
	for _, s := range nodes {
		all = append(all, nodeStatus(&s))
	}
	for _, d := range cluster.Differences(nodes) {
		told := &simpv1.SettingDifference{Setting: d.Setting}
		for _, v := range d.Values {
			told.Value = append(told.Value, &simpv1.SettingValue{Value: v.Value, Node: v.Nodes})
		}
		differ = append(differ, told)
	}
	return all, differ, nil
}

func nodeStatus(s *cluster.NodeStatus) *simpv1.NodeStatus {
	n := &simpv1.NodeStatus{
		Id: s.ID, State: nodeState(s), Problem: s.Unready, Role: nodeRole(s.Role), Version: s.Version,
		Index: s.Index, Epoch: s.Epoch, Connections: s.Connections,
		ClusterAddress: s.Addr, GrpcAddress: s.Member.GRPCAddr,
		MinSchema: s.MinSchema, MaxSchema: s.MaxSchema, UnsetAddress: s.UnsetAddresses, BootstrapExpect: uint32(s.Member.BootstrapExpect),
	}
	clients := target{Member: s.Member}
	n.ClientAddress = cmp.Or(clients.address(protocol.PlainTCP), clients.address(protocol.TLS))
	n.UncoveredDomain, n.ForeignCertificate = s.Certificates.UncoveredDomains, s.Certificates.ForeignCertificates
	for _, e := range s.Certificates.Expiring {
		n.Expiring = append(n.Expiring, toldExpiry(e))
	}
	n.Warning = s.Warnings
	n.ConsoleAddress = s.ConsoleAddress
	if s.Digest != nil {
		n.Digest, n.DigestLog = hex.EncodeToString(s.Digest.Sum), s.Digest.Log
	}
	for _, o := range s.Outcomes {
		n.Outcome = append(n.Outcome, &simpv1.OutcomeCount{Status: o.Status, Count: o.Count})
	}
	if s.Contact > 0 {
		n.OutOfTouch = durationpb.New(s.Contact)
	}
	if s.Answers {
		n.Started = timestamppb.New(s.Started)
	}
	return n
}

func toldExpiry(e *clusterv1.Expiry) *simpv1.Expiry {
	told := &simpv1.Expiry{Kind: expiryKind(e.Kind), Name: e.Name, Id: e.Id, NotAfter: timestamppb.New(time.UnixMilli(e.EndMs))}
	if e.BeginMs != 0 {
		told.NotBefore = timestamppb.New(time.UnixMilli(e.BeginMs))
	}
	return told
}

func expiryKind(kind string) simpv1.ExpiryKind {
	switch kind {
	case expiryNode:
		return simpv1.ExpiryKind_EXPIRY_KIND_NODE
	case expiryClusterCA:
		return simpv1.ExpiryKind_EXPIRY_KIND_CLUSTER_CA
	case expirySite:
		return simpv1.ExpiryKind_EXPIRY_KIND_SITE
	case expirySiteCA:
		return simpv1.ExpiryKind_EXPIRY_KIND_SITE_CA
	case expiryObtained:
		return simpv1.ExpiryKind_EXPIRY_KIND_ACME
	case expiryFederationCA:
		return simpv1.ExpiryKind_EXPIRY_KIND_FEDERATION_CA
	case expiryProgram:
		return simpv1.ExpiryKind_EXPIRY_KIND_PROGRAM
	case expiryToken:
		return simpv1.ExpiryKind_EXPIRY_KIND_TOKEN
	}
	return simpv1.ExpiryKind_EXPIRY_KIND_UNSPECIFIED
}

func nodeState(s *cluster.NodeStatus) simpv1.NodeState {
	switch {
	case !s.Answers:
		return simpv1.NodeState_NODE_STATE_DOWN
	case s.Contact > 0:
		return simpv1.NodeState_NODE_STATE_CUT_OFF
	case s.Draining:
		return simpv1.NodeState_NODE_STATE_DRAINING
	case s.Unready != "":
		return simpv1.NodeState_NODE_STATE_STARTING
	}
	return simpv1.NodeState_NODE_STATE_READY
}

func nodeRole(role string) simpv1.NodeRole {
	switch role {
	case cluster.RoleLeader:
		return simpv1.NodeRole_NODE_ROLE_LEADER
	case cluster.RoleFollower, cluster.RoleCandidate:
		return simpv1.NodeRole_NODE_ROLE_FOLLOWER
	case cluster.RoleReplica:
		return simpv1.NodeRole_NODE_ROLE_NONVOTER
	}
	return simpv1.NodeRole_NODE_ROLE_UNSPECIFIED
}

func (o operations) TransferLeadership(ctx context.Context, node string) (string, error) {
	leader, err := o.cluster.TransferLeadership(ctx, node)
	return leader, o.publicError(ctx, node, err)
}

func (o operations) RemoveNode(ctx context.Context, node string) error {
	return o.publicError(ctx, node, o.cluster.RemoveNode(ctx, node))
}

func (o operations) AdmitNode(ctx context.Context, node string) error {
	err := o.cluster.AdmitNode(ctx, node)
	if errors.Is(err, cluster.ErrNotRemoved) {
		return protocol.Errorf(protocol.StatusUnknownAddress, "no node %s was removed from the site", node)
	}
	return o.publicError(ctx, "", err)
}

func (o operations) Undrain(ctx context.Context, node string) error {
	return o.publicError(ctx, node, o.cluster.Drain(ctx, node, 0, true))
}

// publicError is an error about a node as a caller is told it, whose fault it may be.
func (o operations) publicError(ctx context.Context, node string, err error) error {
	switch {
	case err == nil:
		return nil
	case node != "" && !o.hasNode(ctx, node):
		return protocol.Errorf(protocol.StatusUnknownAddress, "there is no node %s", node)
	case errors.Is(err, cluster.ErrRefused):
		parts := strings.Split(err.Error(), cluster.ErrRefused.Error()+": ") // the last of them: who refused comes before
		return protocol.Errorf(protocol.StatusWrongState, "%s", parts[len(parts)-1])
	}
	return err
}

func (o operations) hasNode(ctx context.Context, node string) bool {
	return slices.ContainsFunc(o.cluster.Status(ctx), func(s cluster.NodeStatus) bool { return s.ID == node })
}

// CheckDomain tries the way to another site from this node.
func (o operations) CheckDomain(ctx context.Context, own, domain string) (*simpv1.CheckDomainResponse, error) {
	if o.partners == nil {
		return nil, protocol.Errorf(protocol.StatusWrongState, "this node runs with --insecure, so it communicates with no other site")
	}
	findings, reached := o.partners.Diagnose(ctx, own, domain)
	resp := &simpv1.CheckDomainResponse{Reached: reached}
	for _, f := range findings {
		resp.Check = append(resp.Check, &simpv1.DomainCheck{Step: f.Step, Ok: f.OK, Text: f.Text, Advice: f.Advice})
	}
	return resp, nil
}

func (o operations) Kick(ctx context.Context, user protocol.Address, session *store.Session) (int, error) {
	return o.cluster.Kick(ctx, user, session)
}

const (
	drainLook  = 200 * time.Millisecond // how often a drain's progress is looked at
	drainGrace = 2 * time.Second
)

// Drain asks the node to send its clients away, and watches it do so.
func (o operations) Drain(ctx context.Context, node string, timeout time.Duration, progress func(*simpv1.DrainResponse)) error {
	if err := o.cluster.Drain(ctx, node, timeout, false); err != nil {
		return o.publicError(ctx, node, err)
	}
	if timeout == 0 {
		timeout = o.drainTimeout()
	}
	timeout += drainGrace // for the farewell to who did not move
	limit, again := time.After(timeout), time.NewTicker(drainLook)
	defer again.Stop()
	var total uint64
	for {
		s, err := o.drainProgress(ctx, node)
		if err != nil {
			return err
		}
		total = max(total, s.Left)
		s.Total = total
		progress(s)
		if s.Left == 0 && !s.Leader {
			return nil
		}
		select {
		case <-again.C:
		case <-limit:
			return drainTimedOut(node, s, timeout)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drainTimedOut returns the error of a drain that did not finish: it says what
// is left to do.
func drainTimedOut(node string, p *simpv1.DrainResponse, timeout time.Duration) error {
	switch {
	case p.Left == 0:
		return protocol.Errorf(protocol.StatusUnavailable, "%s still leads: no other voter has taken over within %v", node, timeout)
	case p.Left == 1:
		return protocol.Errorf(protocol.StatusUnavailable, "1 client of %s has not moved within %v", node, timeout)
	}
	return protocol.Errorf(protocol.StatusUnavailable, "%d clients of %s have not moved within %v", p.Left, node, timeout)
}

// drainProgress tells how far a node's drain is. A node that alone has a vote leads
// on; that is no reason to wait.
func (o operations) drainProgress(ctx context.Context, node string) (*simpv1.DrainResponse, error) {
	all := o.cluster.Status(ctx)
	i := slices.IndexFunc(all, func(s cluster.NodeStatus) bool { return s.ID == node })
	if i < 0 || !all[i].Answers {
		return nil, protocol.Errorf(protocol.StatusUnavailable, "%s no longer answers; see simpctl status", node)
	}
	if !all[i].Draining {
		return nil, protocol.Errorf(protocol.StatusWrongState, "the drain of %s was called off", node)
	}
	leads := o.cluster.Leader() == node && o.cluster.Stats().Voters > 1
	return &simpv1.DrainResponse{Left: all[i].Connections, Leader: leads}, nil
}
