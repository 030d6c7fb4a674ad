// Package policyrpc asks an operator's program by gRPC (PolicyService).
package policyrpc

import (
	"context"
	"crypto/tls"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"simpd/cluster/policy"
	simpv1 "simpd/proto/simp/v1"
)

// Client is the connection to the program, which is made when it is needed. It
// implements policy.Asker.
type Client struct {
	conn   *grpc.ClientConn
	client simpv1.PolicyServiceClient
}

// maxAnswer is the largest answer that is read, in octets.
const maxAnswer = 4 << 10

// How soon a connection counts as lost whose other end has vanished: it does not
// acknowledge what it is sent (TCP_USER_TIMEOUT), or a ping, for lossTimeout.
const (
	pingInterval = 10 * time.Second // at most one ping, and only with a question
	lossTimeout  = 5 * time.Second
)

// New returns a Client for an address in gRPC's form: HOST:PORT or unix:PATH.
// Without a TLS configuration it speaks in clear.
func New(address string, c *tls.Config) (*Client, error) {
	creds := insecure.NewCredentials()
	if c != nil {
		creds = credentials.NewTLS(c)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds), grpc.WithNoProxy(),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingInterval, Timeout: lossTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer), grpc.WaitForReady(false)))
	if err != nil {
		return nil, err
	}
	return &Client{conn, simpv1.NewPolicyServiceClient(conn)}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Ask asks once.
func (c *Client) Ask(ctx context.Context, q *policy.Question) (policy.Answer, error) {
	r, err := c.client.Check(ctx, &simpv1.CheckRequest{
		From: q.From.String(), To: q.To.String(), FirstContact: q.FirstContact,
		SignatureState: simpv1.SignatureState(q.Signature), Entity: q.Entity,
		Counts: &simpv1.Counts{
			Messages: uint32(q.Counts.Messages), FirstContacts: uint32(q.Counts.FirstContacts),
			OriginMessages: uint32(q.Counts.OriginMessages), OriginFirstContacts: uint32(q.Counts.OriginFirstContacts),
		},
	})
	if err != nil {
		return policy.Answer{}, err
	}
	a := policy.Answer{Verdict: verdictOf(r.Verdict)}
	if r.Ttl.IsValid() {
		a.TTL = r.Ttl.AsDuration()
	}
	if r.Retry.IsValid() {
		a.Retry = r.Retry.AsDuration()
	}
	return a, nil
}

// verdictOf returns 0 for what is no verdict.
func verdictOf(v simpv1.Verdict) policy.Verdict {
	switch v {
	case simpv1.Verdict_VERDICT_PASS:
		return policy.Pass
	case simpv1.Verdict_VERDICT_NOT_LISTENING:
		return policy.NotListening
	case simpv1.Verdict_VERDICT_SLOW_DOWN:
		return policy.SlowDown
	case simpv1.Verdict_VERDICT_REFUSED:
		return policy.Refused
	}
	return 0
}
