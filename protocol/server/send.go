package server

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"simpd/protocol"
)

// handleSend starts a SEND (SIMP.md, section 6). It never blocks.
func (s *session) handleSend(_ context.Context, r *request) error {
	x, err := s.decodeSend(r)
	if err != nil {
		return err
	}
	s.inflight.addSend(x)
	s.server.timers.Schedule(&s.timer, x.dueAt())
	s.user.Send(&x.SendRequest)
	return nil
}

func (s *session) decodeSend(r *request) (*pendingSend, error) {
	x := &pendingSend{session: s, tag: r.line.Tag, octets: r.octets}
	to, err := s.addresses(x.toBuf[:0], r, "to")
	if err == nil {
		err = s.checkSend(r, to)
	}
	if err != nil {
		return nil, err
	}
	x.To, x.Received, x.Entity, x.Done = to, r.received, r.literal, x.onOutcome
	if x.From, err = s.senderParam(r); err == nil {
		err = s.checkLocalTargets(to)
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
	if wait := s.user.TakeMessages(x.From, len(to)); wait > 0 {
		return nil, rateError("messages", wait)
	}
	x.remaining, x.outcomes = len(to), x.outcomeBuf[:]
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
		return protocol.Errorf(protocol.StatusTooLarge, "the message has %d octets: %d are allowed", r.line.Literal, protocol.MaxEntity)
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

// pendingSend is an unanswered SEND.
type pendingSend struct {
	protocol.SendRequest
	session *session
	tag     string
	octets  int

	// Guarded by inflight's lock.
	newer, older *pendingSend
	outcomes     []protocol.Outcome // those without a status are not known yet
	remaining    int

	toBuf      [1]protocol.Address // avoids allocations for To and outcomes
	outcomeBuf [1]protocol.Outcome
}

// answerGrace is how long after its timeout a SEND without an outcome is
// answered, as in doubt. SIMP.md, section 6, rule 4 allows a second.
//
// Each part that waits for an outcome gives up a little later than the one that
// it waits for, so that what is known is told: the connection to another site
// after 300 ms (federation.answerGrace), the router after 500 ms
// (router.outcomeGrace), the SEND after 700 ms. The stream to another node
// takes outcomes for a second (link.lateOutcomeGrace).
const answerGrace = 700 * time.Millisecond

// dueAt returns when the SEND must be answered.
func (x *pendingSend) dueAt() time.Time { return x.Deadline().Add(answerGrace) }

// onOutcome records the outcome for recipient i.
func (x *pendingSend) onOutcome(i int, o protocol.Outcome) {
	if x.session.inflight.recordOutcome(x, i, o) {
		x.respond()
	}
}

// abandon answers the SEND although outcomes are missing, which are in doubt.
func (x *pendingSend) abandon() {
	if x.session.inflight.markUnknown(x) {
		x.respond()
	}
}

// respond sends the response. The SEND is no longer in flight, and its
// outcomes do not change any more.
func (x *pendingSend) respond() {
	x.session.reply(x.tag, x.encodeResponse())
	x.session.inflight.release(x.octets)
}

func (x *pendingSend) encodeResponse() []byte {
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
		b = protocol.AppendInt(b, "retry", uint64(x.retry()))
	}
	b = protocol.AppendText(b, outcomeText(x, common))
	return protocol.AppendEnd(b)
}

// retry returns after how many seconds to repeat a SEND whose outcomes are all
// 429: where none says, after a minute.
func (x *pendingSend) retry() (seconds int) {
	for _, o := range x.outcomes {
		seconds = max(seconds, o.Retry)
	}
	return cmp.Or(seconds, defaultRetry)
}

// defaultRetry is the retry time in seconds where it is not known.
const defaultRetry = 60

func appendOutcome(b []byte, o protocol.Outcome) []byte {
	b = protocol.AppendInt(b, "status", uint64(o.Status))
	retry := o.Retry
	if o.Status == protocol.StatusSlowDown {
		retry = cmp.Or(retry, defaultRetry)
	}
	if retry > 0 {
		b = protocol.AppendInt(b, "retry", uint64(retry))
	}
	if o.Text != "" {
		b = protocol.AppendText(b, o.Text)
	}
	return protocol.AppendEnd(b)
}

func outcomeText(x *pendingSend, common protocol.Status) string {
	if len(x.To) == 1 && x.outcomes[0].Text != "" {
		return x.outcomes[0].Text
	}
	return commonText(common)
}
