//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"simpd/cmd/simpbench/load"
	simpv1 "simpd/proto/simp/v1"
)

// control is the way to a site's services for programs, node by node.
type control struct{ nodes []*grpc.ClientConn }

func dialControl(plans []*plan) (control, error) {
	var c control
	for _, p := range plans {
		conn, err := grpc.NewClient(p.grpc(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			c.close()
			return control{}, fmt.Errorf("reach the services of %s: %w", p.id, err)
		}
		c.nodes = append(c.nodes, conn)
	}
	return c, nil
}

func (c control) close() {
	for _, n := range c.nodes {
		n.Close() // nothing is under way
	}
}

// importAccounts makes users number 0 to n-1. All have one verifier, which
// travels instead of the password, so that nothing is hashed here or there.
func (s *subject) importAccounts(ctx context.Context, n int) error {
	simp, ok := s.dialect.(*load.SIMP)
	if !ok {
		return errors.New("import accounts: no site")
	}
	stream, err := simpv1.NewAccountServiceClient(s.control.nodes[0]).Import(ctx)
	if err != nil {
		return fmt.Errorf("import accounts: %w", err)
	}
	const most = 1000 // a request
	for first := 0; first < n; first += most {
		if err := stream.Send(accounts(simp, first, min(first+most, n))); err != nil {
			break // CloseAndRecv knows why
		}
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return fmt.Errorf("import accounts: %w", err)
	}
	if got := answer.GetCreated(); got != uint64(n) {
		return fmt.Errorf("import accounts: %d of %d were made", got, n)
	}
	return nil
}

func accounts(s *load.SIMP, first, end int) *simpv1.ImportAccountsRequest {
	salt, iterations, stored, server := s.Password.Verifier()
	credential := &simpv1.Credential{Kind: &simpv1.Credential_Verifier{Verifier: &simpv1.ScramVerifier{
		Salt: salt, Iterations: uint32(iterations), StoredKey: stored, ServerKey: server}}}
	r := &simpv1.ImportAccountsRequest{}
	for n := first; n < end; n++ {
		r.Account = append(r.Account, &simpv1.ImportedAccount{Ima: s.User(n), Credential: credential})
	}
	return r
}

// leader returns the number of the node that leads.
func (s *subject) leader(ctx context.Context) (int, error) {
	answer, err := simpv1.NewClusterServiceClient(s.control.nodes[0]).Status(ctx, &simpv1.StatusRequest{})
	if err != nil {
		return 0, fmt.Errorf("ask who leads: %w", err)
	}
	for i := range s.nodes {
		if answer.GetLeader() == nodeID(i) {
			return i, nil
		}
	}
	return 0, errors.New("no node leads")
}
