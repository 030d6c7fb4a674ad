package server

import (
	"context"
	"strconv"
	"time"

	"simpd/protocol"
)

// send begins a SEND (SIMP.md, section 6). It never waits.
func (s *session) send(_ context.Context, r *request) {
	x, err := s.decodeSend(r)
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.ledger.add(x)
	s.server.wheel.wake(&s.alarm, x.due())
	s.user.Send(&x.SendRequest)
}

func (s *session) decodeSend(r *request) (*sending, error) {
	x := &sending{s: s, tag: r.line.Tag, octets: r.octets}
	to, err := s.addresses(x.firstTo[:0], r, "to")
	if err == nil {
		err = s.checkSend(r, to)
	}
	if err != nil {
		return nil, err
	}
	x.To, x.Received, x.Entity, x.Done = to, r.received, r.literal, x.done
	if x.From, err = s.claimed(r); err == nil {
		err = s.checkHere(to)
	}
	if err != nil {
		return nil, err
	}
	if x.ID, x.Repeatable, err = s.messageID(r); err != nil {
		return nil, err
	}
	if x.Timeout, err = timeout(r); err != nil {
		return nil, err
	}
	if err = s.spendMessages(len(to)); err != nil {
		return nil, err
	}
	x.left, x.outcomes = len(to), x.firstOutcome[:]
	if len(to) > 1 {
		x.outcomes = make([]protocol.Outcome, len(to))
	}
	return x, nil
}

func (s *session) checkSend(r *request, to []protocol.Address) error {
	switch {
	case len(to) == 0:
		return protocol.Errorf(protocol.StatusBadRequest, "to is missing: SEND to=IMA {n}")
	case len(to) > protocol.MaxRecipients:
		return protocol.Errorf(protocol.StatusTooLarge, "%s is one recipient too many: %d are allowed", to[protocol.MaxRecipients], protocol.MaxRecipients)
	case r.line.Literal < 0:
		return protocol.Errorf(protocol.StatusBadRequest, "the message is missing: SEND to=IMA {n}")
	case r.tooLarge:
		return protocol.Errorf(protocol.StatusTooLarge, "the message has %d octets: %d are allowed", r.line.Literal, s.server.config.Size)
	}
	return nil
}

func (s *session) messageID(r *request) (id string, chosen bool, err error) {
	id, ok := r.line.Get("id")
	if !ok {
		return s.server.ids.next(), false, nil
	}
	if !protocol.ValidID(id) {
		return "", false, protocol.Errorf(protocol.StatusBadRequest, "invalid id %s: must be 1 to 64 letters, digits, -, _ and .", protocol.Quote(id))
	}
	return id, true, nil
}

func timeout(r *request) (time.Duration, error) {
	v, ok := r.line.Get("timeout")
	if !ok {
		return protocol.DefaultTimeout, nil
	}
	n, err := strconv.ParseUint(v, 10, 8)
	d := time.Duration(n) * time.Second
	if err != nil || n == 0 || d > protocol.MaxTimeout {
		return 0, protocol.Errorf(protocol.StatusBadRequest, "invalid timeout %s: must be 1 to 60 seconds", protocol.Quote(v))
	}
	return d, nil
}

// sending is a SEND that is not answered.
type sending struct {
	protocol.SendRequest
	s      *session
	tag    string
	octets int

	// Of the ledger, whose lock guards them.
	newer, older *sending
	outcomes     []protocol.Outcome // those without a status are not known yet
	left         int

	firstTo      [1]protocol.Address // what To and outcomes usually are
	firstOutcome [1]protocol.Outcome
}

// answerGrace is how long after its timeout a SEND is answered without an
// outcome from the site, which then is in doubt. Rule 4 allows a second.
const answerGrace = 700 * time.Millisecond

// due is when x has to be answered.
func (x *sending) due() time.Time { return x.Deadline().Add(answerGrace) }

// done takes the outcome for recipient i.
func (x *sending) done(i int, o protocol.Outcome) {
	if x.s.ledger.note(x, i, o) {
		x.finish()
	}
}

// giveUp answers x though not all outcomes are known: those are in doubt.
func (x *sending) giveUp() {
	if x.s.ledger.forgo(x) {
		x.finish()
	}
}

// finish answers x, which has left the ledger. Its outcomes do not change any
// more.
func (x *sending) finish() {
	x.s.reply(x.tag, x.answer())
	x.s.ledger.settle(x.octets)
}

func (x *sending) answer() []byte {
	common := x.outcomes[0].Status
	b := make([]byte, 0, len(x.tag)+len(x.ID)+len(outcomeText(x, common))+len(" 200 id= :\r\n"))
	if len(x.To) > 1 {
		for i, o := range x.outcomes {
			b = appendOutcome(protocol.AppendParam(protocol.AppendResponse(b, x.tag, protocol.StatusPartial), "to", x.To[i].String()), o)
			if o.Status != common {
				common = protocol.StatusMixed
			}
		}
	}
	b = protocol.AppendResponse(b, x.tag, common)
	b = protocol.AppendParam(b, "id", x.ID)
	if common == protocol.StatusSlowDown {
		b = protocol.AppendInt(b, "retry", strangersRetry)
	}
	b = protocol.AppendText(b, outcomeText(x, common))
	return protocol.AppendEnd(b)
}

// strangersRetry is after how many seconds a sender of whom a SEND was too
// much may try again: budgets are counted by the minute.
const strangersRetry = 60

func appendOutcome(b []byte, o protocol.Outcome) []byte {
	b = protocol.AppendInt(b, "status", uint64(o.Status))
	if o.Text != "" {
		b = protocol.AppendText(b, o.Text)
	}
	return protocol.AppendEnd(b)
}

func outcomeText(x *sending, common protocol.Status) string {
	if len(x.To) == 1 && x.outcomes[0].Text != "" {
		return x.outcomes[0].Text
	}
	return statusText(common)
}
