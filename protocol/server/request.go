package server

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// requestTime is how long the site may take for a request; it is answered
// within protocol.RequestTimeout.
const requestTime = protocol.RequestTimeout - 500*time.Millisecond

// request takes a request: answers it, or has it answered. rest is what was
// read after it.
func (s *session) request(r *request, rest []byte) {
	switch {
	case r.line.Tag == "":
		s.complain(r.wrong)
	case r.line.Tag == "*" && r.wrong != nil:
	case r.wrong != nil:
		s.refuseAtOnce(r, r.wrong)
	case r.line.Verb == "PING", r.line.Verb == "QUIT":
		s.atOnce(r)
	case r.unpaid, !s.ledger.take(r.octets, s.out.held()):
		s.reply(r.line.Tag, protocol.AppendEnd(s.refusalOf(r, tooMany)))
	case r.line.Verb == "STARTTLS":
		s.starttls(r, rest)
	default:
		s.begin(r)
		return
	}
	r.free()
}

// atOnce takes what may be asked at any time, whatever is outstanding.
func (s *session) atOnce(r *request) {
	err := checkShape(command{}, r)
	switch {
	case err != nil:
		s.refuseAtOnce(r, err)
	case r.line.Verb == "PING":
		s.ping(r)
	default:
		s.quit = r.line.Tag
	}
}

// refuseAtOnce answers what does not count as unanswered.
func (s *session) refuseAtOnce(r *request, err error) {
	e := s.server.toError(err)
	s.erred(e.Status)
	s.reply(r.line.Tag, protocol.AppendEnd(refusal(r.line.Tag, e)))
}

var tooMany = &protocol.Error{Status: protocol.StatusSlowDown, Text: "too much is unanswered on this connection", Retry: 1}

// complain answers a line of which no tag can be read.
func (s *session) complain(err error) {
	s.server.metrics.Errors.Add(1)
	s.erred(protocol.StatusBadRequest)
	if s.input.untagged++; s.input.untagged >= maxErrors {
		s.Bye(protocol.StatusBadRequest, "too many lines without a tag")
		return
	}
	b := protocol.AppendRequest(nil, "*", "ERROR")
	b = protocol.AppendInt(b, "status", uint64(protocol.StatusBadRequest))
	s.say(protocol.AppendText(b, s.server.toError(err).Text))
}

// begin has a request done: now, if it need not wait and nothing before it
// does; else behind what is before it.
func (s *session) begin(r *request) {
	c := s.commandFor(r)
	if err := s.mayBegin(r); err != nil {
		s.refuse(r, err)
		r.free()
		return
	}
	if r.line.Verb != "SEND" && s.proved.Load() {
		if err := s.spendCommand(); err != nil {
			s.refuse(r, err)
			r.free()
			return
		}
	}
	if !s.jobs.busy() && (!c.waits || s.provesAtOnce(r)) {
		s.run(context.Background(), c, r)
		return
	}
	if r.line.Verb == "SEND" {
		s.queueSend(c, r)
		return
	}
	next := job{do: func(ctx context.Context) { s.run(ctx, c, r) }, by: r.received.Add(requestTime)}
	if r.line.Verb == "STATE" {
		next.state = r
	}
	s.jobs.addJob(next)
}

// queueSend has a SEND done behind what is before it. If that takes longer than
// the message's time, it is answered then: nothing was handed over.
func (s *session) queueSend(c command, r *request) {
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
	added := s.jobs.add(func(ctx context.Context) {
		late.Stop()
		if taken.CompareAndSwap(false, true) {
			s.run(ctx, c, r)
		}
	}, r.received.Add(requestTime))
	if !added {
		late.Stop()
	}
}

var errNotBegun = &protocol.Error{Status: protocol.StatusUnavailable, Text: "what was asked before it took longer than its time: it was not begun"}

// mayBegin: while AUTH is unanswered only MORE may come.
func (s *session) mayBegin(r *request) *protocol.Error {
	switch verb := r.line.Verb; {
	case verb == "MORE":
		if !s.logging.Load() {
			return protocol.Errorf(protocol.StatusWrongState, "MORE continues an AUTH: there is none")
		}
	case s.logging.Load():
		return protocol.Errorf(protocol.StatusWrongState, "AUTH is not answered yet: only MORE, PING and QUIT may be sent")
	case verb == "AUTH":
		s.logging.Store(true)
	}
	return nil
}

// run does a request in its turn.
func (s *session) run(ctx context.Context, c command, r *request) {
	defer r.free()
	if err := s.check(c, r); err != nil {
		if r.line.Verb == "AUTH" {
			s.logging.Store(false)
		}
		s.refuse(r, err)
		return
	}
	c.run(s, ctx, r)
}

// check sees whether c may be done now, and is asked rightly as far as all
// commands are alike.
func (s *session) check(c command, r *request) error {
	switch {
	case !s.greeted && c.phase != anyTime:
		return protocol.Errorf(protocol.StatusWrongState, "HELLO comes first")
	case c.unknown:
		return protocol.Errorf(protocol.StatusUnknownVerb, "unknown command %s", r.line.Verb)
	case s.user == nil && c.phase == proved:
		return protocol.Errorf(protocol.StatusUnauthorized, "AUTH comes first")
	}
	if err := s.checkRouting(r); err != nil {
		return err
	}
	return checkShape(c, r)
}

// checkShape sees whether a request has a literal that it may not have, or a
// key twice.
func checkShape(c command, r *request) error {
	if r.line.Literal >= 0 && !c.literal {
		return protocol.Errorf(protocol.StatusBadRequest, "%s takes no literal", r.line.Verb)
	}
	if key, ok := r.line.Repeated(); ok {
		return protocol.Errorf(protocol.StatusBadRequest, "%s is given twice", key)
	}
	return nil
}

// The tags that the server chooses: a letter and a number.
const (
	messageTag = "m"
	pingTag    = "p"
)

// responded takes a response to a request of ours. An interim one changes
// nothing; one to nothing asked is ignored.
func (s *session) responded(r *request) {
	status := r.line.Status
	number, ok := numberOf(r.line.Tag)
	if !ok || status/100 != 2 && status/100 != 4 && status/100 != 5 {
		return
	}
	switch r.line.Tag[:1] {
	case messageTag:
		s.acknowledged(number, r)
	case pingTag:
		s.vigil.answered(number)
	}
}

// numberOf reads the number of one of our tags.
func numberOf(tag string) (uint64, bool) {
	if len(tag) < 2 || tag[1] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(tag[1:], 10, 64)
	return n, err == nil
}
