package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// A SEND is delivered by a 200 alone, and certainly not delivered by a 4xx or
// 5xx; whatever else a server answers leaves it in doubt.
func TestStrangeAnswersToSendAreInDoubt(t *testing.T) {
	for answer, want := range map[string]protocol.Status{
		"200": 200, "201": 201, "202": 201, "207": 201, "299": 201, "302": 201, "600": 201, "999": 201, "480": 480, "503": 503,
		"100 to=bob@example.com status=202\n200": 201, "100 to=bob@example.com\n200": 201, "100 to=bob@example.com status=999\n480": 201,
		"101 data=\n480": 480, "199\n200": 200,
	} {
		t.Run(answer, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
				wait := doing(func() {
					tag := p.Want("SEND to=bob@example.com id=x {4}")
					p.Body("\r\nhi")
					p.Respond(tag, answer)
				})
				report, err := c.Send(t.Context(), client.Message{To: []protocol.Address{address(t, "bob@example.com")}, ID: "x", Entity: client.Text("hi")})
				wait()
				if err != nil || report.Status != want || report.Results[0].Status != want {
					t.Errorf("%+v, %v; want %d", report, err, want)
				}
				closeWith(t, c, p)
			})
		})
	}
}

// A request that the server leaves unanswered is given up in words.
func TestUnansweredRequestsAreNamed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		wait := doing(func() { p.Want("ACL") })
		_, err := c.Rules(t.Context())
		wait()
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "the server did not answer ACL in time" {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait = doing(func() { p.Want("ACL") })
		_, err = c.Rules(ctx)
		wait()
		if err != context.DeadlineExceeded {
			t.Errorf("after the caller's time: %v", err)
		}
		closeWith(t, c, p)
	})
}
