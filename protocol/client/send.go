package client

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// Message is a message to send.
type Message struct {
	To      []protocol.Address // 1 to protocol.MaxRecipients, as far as a line has room
	Entity  []byte             // a MIME entity; see Text
	ID      string             // empty: the client generates one
	Timeout time.Duration      // whole seconds, 1 to 60; 0: 10 s
	// Retries is how often a message in doubt is sent again, under the same ID,
	// so that a client that has received it does not show it twice.
	Retries int
}

// Report is the outcome of a message.
type Report struct {
	ID      string
	Status  protocol.Status // the status of all recipients, or 207 if they differ
	Results []Result        // one for each distinct recipient, in order
}

// Result is the outcome for one recipient: 200 is delivered, 201 is in doubt,
// anything else is not delivered.
type Result struct {
	To protocol.Address
	protocol.Outcome
}

// Text returns the MIME entity of a plain text.
func Text(s string) []byte { return append([]byte("\r\n"), s...) }

// Send sends a message and returns its outcome. If the error is ErrNotSent,
// the server certainly did not receive the message. A message whose
// connection or context ends before the response is in doubt, which is not an
// error but a Result.
func (c *Client) Send(ctx context.Context, m Message) (Report, error) {
	m, err := prepare(m)
	if err != nil {
		return Report{}, err
	}
	report, err := c.sendOnce(ctx, m)
	for range m.Retries {
		m.To = report.inDoubt()
		if err != nil || m.To == nil || ctx.Err() != nil {
			break
		}
		if again, failed := c.sendOnce(ctx, m); failed == nil {
			report.merge(again)
		}
	}
	return report, err
}

// prepare gives a message an ID if it has none, and checks it.
func prepare(m Message) (Message, error) {
	if m.ID == "" {
		m.ID = rand.Text()
	}
	if len(m.To) == 0 || !protocol.ValidID(m.ID) {
		return m, notSent(protocol.Errorf(protocol.StatusBadRequest, "a recipient and a valid id are required"))
	}
	return m, nil
}

// sendOnce sends on the current connection, or on the next one if the server
// certainly did not receive the message.
func (c *Client) sendOnce(ctx context.Context, m Message) (Report, error) {
	for {
		cur, err := c.awaitConn(ctx)
		if err != nil {
			return Report{}, notSent(err)
		}
		report, err := sendOn(ctx, cur, m)
		if err == nil || !cur.wasReplaced(err) || ctx.Err() != nil {
			return report, err
		}
		if err := c.awaitReplaced(ctx, cur); err != nil {
			return Report{}, notSent(err)
		}
	}
}

// Sending is a message that was handed to the connection, made by StartSend.
type Sending struct {
	message Message
	request *pendingRequest // nil if report is known already
	report  Report
	latest  time.Time // when the message is in doubt without an answer
}

// StartSend begins to send a message on the current connection, once there is
// one, and returns before the outcome is known: see Await. Messages arrive in
// the order of the calls. Retries is ignored. The only error is ErrNotSent.
func (c *Client) StartSend(ctx context.Context, m Message) (*Sending, error) {
	m, err := prepare(m)
	if err != nil {
		return nil, err
	}
	for {
		cur, err := c.awaitConn(ctx)
		if err != nil {
			return nil, notSent(err)
		}
		s, err := startSendOn(ctx, cur, m)
		if err == nil || !cur.wasReplaced(err) || ctx.Err() != nil {
			return s, err
		}
		if err := c.awaitReplaced(ctx, cur); err != nil {
			return nil, notSent(err)
		}
	}
}

// Await returns the outcome of the message, as Send does: ErrNotSent is the
// only error.
func (s *Sending) Await(ctx context.Context) (Report, error) {
	if s.request == nil {
		return s.report, nil
	}
	ctx, cancel := context.WithDeadline(ctx, s.latest)
	defer cancel()
	partial, final, err := s.request.awaitFinal(ctx)
	var refused *protocol.Error
	switch {
	case errors.Is(err, ErrNotSent):
		return Report{}, err
	case err != nil && !errors.As(err, &refused):
		final.Status, final.Text = protocol.StatusIndeterminate, "no answer came: "+err.Error()
	}
	return newReport(s.message, partial, final), nil
}

// sendOn sends on one connection. The only error is ErrNotSent.
func sendOn(ctx context.Context, conn *conn, m Message) (Report, error) {
	s, err := startSendOn(ctx, conn, m)
	if err != nil {
		return Report{}, err
	}
	return s.Await(ctx)
}

// startSendOn queues a message on one connection.
func startSendOn(ctx context.Context, conn *conn, m Message) (*Sending, error) {
	s := &Sending{message: m}
	if why := conn.Hello.TooLarge(len(m.Entity)); why != "" {
		s.report = newReport(m, nil, response{protocol.Line{Status: protocol.StatusTooLarge, Text: why}})
		return s, nil
	}
	timeout := m.Timeout
	if timeout == 0 {
		timeout = protocol.DefaultTimeout
	}
	s.latest = time.Now().Add(timeout + answerTimeout - protocol.RequestTimeout)
	ctx, cancel := context.WithDeadline(ctx, s.latest)
	defer cancel()
	var err error
	s.request, err = conn.startRequest(ctx, request{verb: "SEND", params: m.appendParams, maxPartial: len(m.To), body: m.Entity})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (m Message) appendParams(b []byte) []byte {
	for _, to := range m.To {
		b = protocol.AppendParam(b, "to", to.String())
	}
	b = protocol.AppendParam(b, "id", m.ID)
	if m.Timeout != 0 {
		b = protocol.AppendInt(b, "timeout", uint64(m.Timeout/time.Second))
	}
	return b
}

// newReport combines the responses: a 100 line for each recipient, or one
// final response for all. Recipients without a line share the final status.
func newReport(m Message, partial []response, final response) Report {
	report := Report{ID: m.ID}
	told := make(map[protocol.Address]protocol.Outcome, len(partial))
	for i := range partial {
		l := &partial[i].Line
		if to, err := protocol.ParseAddress(outbound.TextParam(l, "to")); err == nil {
			told[to.CaseFold()] = normalizeOutcome(protocol.Outcome{Status: protocol.Status(outbound.IntParam(l, "status")), Text: l.Text})
		}
	}
	rest := normalizeOutcome(protocol.Outcome{Status: final.Status, Text: final.Text})
	seen := make(map[protocol.Address]bool, len(m.To))
	for _, to := range m.To {
		if seen[to] {
			continue
		}
		seen[to] = true
		outcome, ok := told[to.CaseFold()]
		if !ok {
			outcome = rest
		}
		report.Results = append(report.Results, Result{to, outcome})
	}
	report.Status = report.commonStatus()
	return report
}

// normalizeOutcome returns the outcome to report: a status that neither
// confirms nor excludes delivery means in doubt.
func normalizeOutcome(o protocol.Outcome) protocol.Outcome {
	switch {
	case o.Status == protocol.StatusOK, o.Status == protocol.StatusIndeterminate, o.Status/100 == 4, o.Status/100 == 5:
		return o
	}
	return protocol.Outcome{Status: protocol.StatusIndeterminate, Text: o.Text}
}

// inDoubt returns the recipients in doubt.
func (r *Report) inDoubt() []protocol.Address {
	var to []protocol.Address
	for _, result := range r.Results {
		if result.Status == protocol.StatusIndeterminate {
			to = append(to, result.To)
		}
	}
	return to
}

// merge merges a retry's results: only a 200 resolves a recipient in doubt;
// any other status describes the retry itself.
func (r *Report) merge(repeat Report) {
	for _, again := range repeat.Results {
		for i := range r.Results {
			if r.Results[i].To == again.To && again.Status == protocol.StatusOK {
				r.Results[i].Outcome = again.Outcome
			}
		}
	}
	r.Status = r.commonStatus()
}

// commonStatus returns the status that all results have, or 207.
func (r *Report) commonStatus() protocol.Status {
	for _, result := range r.Results {
		if result.Status != r.Results[0].Status {
			return protocol.StatusMixed
		}
	}
	return r.Results[0].Status
}
