package server

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// requestTime is how long the site may take for a request, which is answered
// within protocol.RequestTimeout.
const requestTime = protocol.RequestTimeout - 500*time.Millisecond

// handleRequest handles a request or queues it. rest is what was read after
// it.
func (s *session) handleRequest(r *request, rest []byte) {
	c := commandFor(r)
	switch {
	case r.line.Tag == "":
		s.sendLineError(r.err)
	case r.line.Tag == "*" && r.err != nil:
	case r.err != nil:
		s.refuseUncounted(r, r.err)
	case c.has(immediate):
		s.handleImmediate(c, r)
	case r.overBudget, !s.inflight.reserve(r.octets, s.conn.QueuedOctets()):
		s.reply(r.line.Tag, protocol.AppendEnd(s.refusalLine(r, errTooMuchUnanswered)))
	case c.has(readerOnly):
		s.handleStartTLS(r, rest)
	default:
		s.scheduleRequest(c, r)
		return
	}
	r.free()
}

// handleImmediate handles what may be requested at any time, whatever is in
// flight.
func (s *session) handleImmediate(c *command, r *request) {
	err := checkSyntax(c.flags, r)
	if err == nil {
		err = c.handle(s, context.Background(), r)
	}
	if err != nil {
		s.refuseUncounted(r, err)
	}
}

// refuseUncounted refuses a request that does not count as in flight.
func (s *session) refuseUncounted(r *request, err error) {
	e := s.server.toError(err)
	s.countError(e.Status)
	s.reply(r.line.Tag, protocol.AppendEnd(refusal(r.line.Tag, e)))
}

var errTooMuchUnanswered = &protocol.Error{Status: protocol.StatusSlowDown, Text: "too much is unanswered on this connection", Retry: 1}

// sendLineError responds to a line without a valid tag.
func (s *session) sendLineError(err error) {
	s.server.metrics.Errors.Add(1)
	s.countError(protocol.StatusBadRequest)
	if s.decoder.untagged++; s.decoder.untagged >= maxErrors {
		s.Bye(protocol.StatusBadRequest, "too many lines without a tag")
		return
	}
	b := protocol.AppendRequest(nil, "*", "ERROR")
	b = protocol.AppendInt(b, "status", uint64(protocol.StatusBadRequest))
	s.sendNotification(protocol.AppendText(b, s.server.toError(err).Text))
}

// scheduleRequest handles a request now, if it does not block and nothing is
// queued, or queues it.
func (s *session) scheduleRequest(c *command, r *request) {
	if err := s.checkPipelining(r); err != nil {
		s.refuse(r, err)
		r.free()
		return
	}
	if !c.has(ownLimit) && s.state.isAuthenticated() {
		if err := s.spendCommand(); err != nil {
			s.refuse(r, err)
			r.free()
			return
		}
	}
	if !s.work.isBusy() && !c.blocking(s, r) {
		s.execute(context.Background(), c, r)
		return
	}
	if r.line.Verb == "SEND" {
		s.queueSend(c, r)
		return
	}
	next := task{run: func(ctx context.Context) { s.execute(ctx, c, r) }, deadline: r.received.Add(requestTime)}
	if r.line.Verb == "STATE" {
		next.state = r
	}
	s.work.addTask(next)
}

// queueSend queues a SEND. If its timeout passes while it is queued, it is
// answered then: nothing was delivered.
func (s *session) queueSend(c *command, r *request) {
	most, err := timeout(r)
	if err != nil {
		most = protocol.DefaultTimeout // a bad one is refused in its turn
	}
	var taken atomic.Bool
	late := time.AfterFunc(time.Until(r.received.Add(most)), func() {
		if taken.CompareAndSwap(false, true) {
			s.refuse(r, errNotBegun)
		}
	})
	added := s.work.add(func(ctx context.Context) {
		late.Stop()
		if taken.CompareAndSwap(false, true) {
			s.execute(ctx, c, r)
		}
	}, r.received.Add(requestTime))
	if !added {
		late.Stop()
	}
}

var errNotBegun = &protocol.Error{Status: protocol.StatusUnavailable, Text: "what was asked before it took longer than its time: it was not begun"}

// checkPipelining allows only MORE while AUTH is unanswered.
func (s *session) checkPipelining(r *request) *protocol.Error {
	switch verb := r.line.Verb; {
	case verb == "MORE":
		if !s.state.isAuthenticating() {
			return protocol.Errorf(protocol.StatusWrongState, "MORE continues an AUTH: there is none")
		}
	case s.state.isAuthenticating():
		return protocol.Errorf(protocol.StatusWrongState, "AUTH is not answered yet: only MORE, PING and QUIT may be sent")
	case verb == "AUTH":
		s.state.beginAuth()
	}
	return nil
}

// execute handles a request in its turn. An AUTH that fails here has not
// begun an exchange.
func (s *session) execute(ctx context.Context, c *command, r *request) {
	defer r.free()
	err := s.checkState(c, r)
	if err == nil {
		err = c.handle(s, ctx, r)
	}
	if err != nil && c.verb == "AUTH" {
		s.state.endAuth()
	}
	s.refuse(r, err)
}

// checkState checks whether c is allowed now, and the syntax common to all
// commands.
func (s *session) checkState(c *command, r *request) error {
	switch phase := s.state.phase(); {
	case phase == phaseConnected && c.phase > phaseConnected:
		return protocol.Errorf(protocol.StatusWrongState, "HELLO comes first")
	case c.handle == nil:
		return protocol.Errorf(protocol.StatusUnknownVerb, "unknown command %s", r.line.Verb)
	case phase < c.phase:
		return protocol.Errorf(protocol.StatusUnauthorized, "AUTH comes first")
	}
	if !c.has(forRouting) && s.client.Domain != "" {
		return protocol.Errorf(protocol.StatusForbidden, "%s is for users; this connection speaks for a domain", r.line.Verb)
	}
	return checkSyntax(c.flags, r)
}

// checkSyntax returns an error if a request has a literal that is not
// allowed, or a repeated key.
func checkSyntax(flags commandFlags, r *request) error {
	if r.line.Literal >= 0 && flags&takesLiteral == 0 {
		return protocol.Errorf(protocol.StatusBadRequest, "%s takes no literal", r.line.Verb)
	}
	if key, ok := r.line.Repeated(); ok {
		return protocol.Errorf(protocol.StatusBadRequest, "%s is given twice", key)
	}
	return nil
}

// The tags that the server uses: a letter and a number.
const (
	messageTag = "m"
	pingTag    = "p"
)

// handleResponse handles a response to a request of the server. Interim
// responses and those to unknown requests are ignored.
func (s *session) handleResponse(r *request) {
	status := r.line.Status
	number, ok := tagNumber(r.line.Tag)
	if !ok || status/100 != 2 && status/100 != 4 && status/100 != 5 {
		return
	}
	switch r.line.Tag[:1] {
	case messageTag:
		s.onMessageResponse(number, r)
	case pingTag:
		s.activity.onPong(number)
	}
}

// tagNumber returns the number in a tag of the server.
func tagNumber(tag string) (uint64, bool) {
	if len(tag) < 2 || tag[1] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(tag[1:], 10, 64)
	return n, err == nil
}
