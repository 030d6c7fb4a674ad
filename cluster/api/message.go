package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

// messageService sends as the addresses that its callers may send as.
type messageService struct {
	simpv1.UnimplementedMessageServiceServer
	Config
}

// Send answers when there is an outcome for each recipient: within the
// timeout and a second, which are the router's to keep.
func (s *messageService) Send(ctx context.Context, r *simpv1.SendRequest) (*simpv1.SendResponse, error) {
	received := time.Now()
	req, err := s.parseRequest(r, received)
	if err != nil {
		return nil, err
	}
	if c := callerOf(ctx); !c.maySendAs(req.From) {
		return nil, statusWithDetails(codes.PermissionDenied, fmt.Sprintf("%s may not send as %s", c.name, req.From), reasonSenderForbidden.errorInfo())
	}
	if err := s.checkSenderEnabled(req.From); err != nil {
		return nil, err
	}
	req.Program = callerOf(ctx).name
	outcomes := s.startSend(req)
	resp := &simpv1.SendResponse{Id: req.ID, Outcome: make([]*simpv1.Outcome, len(req.To))}
	for range req.To {
		o := <-outcomes
		resp.Outcome[o.i] = &simpv1.Outcome{To: req.To[o.i].String(), Status: int32(o.Status), Text: o.Text, Retry: int32(o.Retry)}
	}
	return resp, nil
}

type outcomeOf struct {
	i int
	protocol.Outcome
}

// startSend hands the request on; the channel holds all outcomes, so that
// nobody ever waits for it to be read.
func (s *messageService) startSend(r *protocol.SendRequest) <-chan outcomeOf {
	outcomes := make(chan outcomeOf, len(r.To))
	r.Done = func(i int, o protocol.Outcome) { outcomes <- outcomeOf{i, o} }
	s.Messenger.Send(r)
	return outcomes
}

func (s *messageService) parseRequest(r *simpv1.SendRequest, received time.Time) (*protocol.SendRequest, error) {
	f := &fields{domains: s.Domains}
	req := &protocol.SendRequest{
		From: f.localUser("from", r.From), ID: r.Id, Repeatable: r.Id != "", Received: received, Entity: r.Entity,
		Timeout: f.durationWithin("timeout", r.Timeout, protocol.DefaultTimeout, time.Second, protocol.MaxTimeout),
	}
	switch {
	case r.Id == "":
		req.ID = rand.Text()
	case !protocol.ValidID(r.Id):
		f.addViolation("id", "is not 1 to 64 of letters, digits, \"-\", \"_\" and \".\"")
	}
	if len(r.Entity) > protocol.MaxEntity {
		f.addViolation("entity", "has %d octets; at most %d", len(r.Entity), protocol.MaxEntity)
	}
	req.To = parseRecipients(f, r.To)
	return req, f.err()
}

func parseRecipients(f *fields, to []string) (list []protocol.Address) {
	if len(to) == 0 || len(to) > protocol.MaxRecipients {
		f.addViolation("to", "has %d addresses; must have 1 to %d", len(to), protocol.MaxRecipients)
		return nil
	}
	seen := map[protocol.Address]bool{}
	for i, value := range to {
		a := f.anyAddress(fmt.Sprintf("to[%d]", i), value)
		if !a.IsZero() && !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	return list
}

// checkSenderEnabled refuses a sender whose account is disabled. An address without an
// account may be sent as: a service need not be somebody.
func (s *messageService) checkSenderEnabled(from protocol.Address) error {
	if a, ok := s.Table.Account(from); ok && a.Disabled {
		return statusWithDetails(codes.PermissionDenied, fmt.Sprintf("the account of %s is disabled", from), reasonDisabled.errorInfo())
	}
	return nil
}
