package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/store"
)

// ConsoleLinks makes links that sign in to consoles. *console.Console is one.
type ConsoleLinks interface {
	// Link returns a link to the console at an address, such as
	// https://n1.example.com:7475, for an identity whose credentials end then
	// (zero: never), and when the link itself ends.
	Link(address string, who Identity, end time.Time) (link string, until time.Time)
}

// CreateConsoleLink makes a link that signs in to a console.
func (s *clusterService) CreateConsoleLink(ctx context.Context, r *simpv1.CreateConsoleLinkRequest) (*simpv1.CreateConsoleLinkResponse, error) {
	setAuditTarget(ctx, "the console of "+r.Node)
	if err := s.consoleReady(); err != nil {
		return nil, err
	}
	node, address, err := s.findConsole(ctx, r.Node)
	if err != nil {
		return nil, err
	}
	setAuditTarget(ctx, "the console of "+node)
	who := callerOf(ctx)
	link, until := s.Console.Link(address, who.identity(), who.end)
	return &simpv1.CreateConsoleLinkResponse{Link: link, Node: node, Until: timestamppb.New(until)}, nil
}

// consoleReady refuses what an older node of the site could not read.
func (s *clusterService) consoleReady() error {
	if err := s.inTouch(false); err != nil {
		return err
	}
	if s.Console == nil || !s.Table.HasConsole() {
		return unavailable(reasonUnavailable, "the site is being upgraded; the console works once all nodes are upgraded")
	}
	return nil
}

// findConsole returns a node that serves a console, and its address: the one
// that is named, or else this one, or else any.
func (s *clusterService) findConsole(ctx context.Context, wanted string) (node, address string, err error) {
	nodes, _, err := s.Cluster.Nodes(ctx)
	if err != nil {
		return "", "", err
	}
	known := wanted == ""
	for _, n := range nodes {
		known = known || n.Id == wanted
		if n.ConsoleAddress == "" || wanted != "" && n.Id != wanted || n.Id != s.NodeID && address != "" {
			continue
		}
		node, address = n.Id, n.ConsoleAddress
	}
	switch {
	case address != "":
		return node, address, nil
	case !known:
		return "", "", statusWithDetails(codes.NotFound, fmt.Sprintf("there is no node %s", limitText(wanted)), reasonNoNode.errorInfo())
	case wanted != "":
		return "", "", statusWithDetails(codes.FailedPrecondition, wanted+" serves no console, or does not answer: set console_listen there", reasonRefused.errorInfo())
	}
	return "", "", statusWithDetails(codes.FailedPrecondition, "no node serves a console: set console_listen", reasonRefused.errorInfo())
}

// RevokeConsole ends all sessions of consoles.
func (s *clusterService) RevokeConsole(ctx context.Context, _ *simpv1.RevokeConsoleRequest) (*simpv1.RevokeConsoleResponse, error) {
	setAuditTarget(ctx, "all sessions of consoles")
	if err := s.consoleReady(); err != nil {
		return nil, err
	}
	at, err := s.revokeConsole(ctx)
	if err != nil {
		return nil, err
	}
	return &simpv1.RevokeConsoleResponse{Position: at}, nil
}

// revokeConsole makes all links and sessions void, and gives their key a new
// secret.
func (s *clusterService) revokeConsole(ctx context.Context) (*simpv1.Position, error) {
	// Otherwise another revocation, which this node has not heard of yet, would
	// be taken for this one.
	if err := s.confirmTable(ctx); err != nil {
		return nil, err
	}
	secret := make([]byte, store.ConsoleSecretOctets)
	rand.Read(secret) // never fails
	return s.proposeEverywhere(ctx, &storev1.Change{Kind: &storev1.Change_RevokeConsole{
		RevokeConsole: &storev1.RevokeConsole{Generation: s.Table.ConsoleGeneration(), Secret: secret},
	}})
}

// revokeConsoleAfterRemoval makes the links and sessions void that whoever has a
// removed node's disk could forge. It comes after the removal, so that the node
// does not get the new secret.
func (s *clusterService) revokeConsoleAfterRemoval(ctx context.Context, node string) error {
	if !s.Table.HasConsole() {
		return nil // an older schema has no sessions
	}
	if _, err := s.revokeConsole(ctx); err != nil {
		s.Logger.Error("a node is removed, but sessions of consoles could not be revoked", "node", node, "error", err)
		return statusWithDetails(codes.FailedPrecondition,
			fmt.Sprintf("%s is removed, but whoever has its disk may still sign in to consoles: run simpctl console --revoke", node), reasonRefused.errorInfo())
	}
	return nil
}

// identity returns the caller as links to the console carry it.
func (c *caller) identity() Identity {
	i := Identity{Name: c.name}
	for _, n := range roleNames {
		if n.role&allRoles != 0 && c.roles&n.role != 0 {
			i.Roles = append(i.Roles, n.name)
		}
	}
	return i
}
