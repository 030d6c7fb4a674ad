package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"simpd/protocol"
)

// Outgoing is a message to be sent.
type Outgoing struct {
	To      []protocol.Address // 1 to protocol.MaxRecipients, as far as a line holds them
	Entity  []byte             // a MIME entity; see Text
	ID      string             // empty: the client makes one
	Timeout time.Duration      // whole seconds, 1 to 60; 0: 10 s
	// Repeats is how often a message that is in doubt is sent again, under the
	// same id, which a client that has it does not show twice.
	Repeats int
}

// Report is what became of a message.
type Report struct {
	ID     string
	Status protocol.Status // the one that all recipients have, or 207
	Each   []Result        // in the order of the recipients, each once
}

// Result is what became of a message for one recipient: 200 is delivered,
// 201 is in doubt, anything else is not delivered.
type Result struct {
	To protocol.Address
	protocol.Outcome
}

// Text makes the entity of a plain text.
func Text(s string) []byte { return append([]byte("\r\n"), s...) }

// Send sends a message and returns when it is known what became of it. With
// an error (ErrNotSent) the server certainly did not get the message. A
// message whose connection, or whose context, ends before the answer is in
// doubt, which is no error but a Result.
func (c *Client) Send(ctx context.Context, m Outgoing) (Report, error) {
	if m.ID == "" {
		m.ID = rand.Text()
	}
	if len(m.To) == 0 || !protocol.ValidID(m.ID) {
		return Report{}, notSent(protocol.Errorf(protocol.StatusBadRequest, "a recipient and a valid id are required"))
	}
	report, err := c.sendOnce(ctx, m)
	for range m.Repeats {
		m.To = report.doubtful()
		if err != nil || m.To == nil || ctx.Err() != nil {
			break
		}
		if again, failed := c.sendOnce(ctx, m); failed == nil {
			report.settle(again)
		}
	}
	return report, err
}

// sendOnce sends on the present connection, or on the next if it is certain
// that the server did not get the message.
func (c *Client) sendOnce(ctx context.Context, m Outgoing) (Report, error) {
	for {
		cur, err := c.connected(ctx)
		if err != nil {
			return Report{}, notSent(err)
		}
		report, err := sendOn(ctx, cur, m)
		if err == nil || !cur.replaced(err) || ctx.Err() != nil {
			return report, err
		}
		if err := c.gone(ctx, cur); err != nil {
			return Report{}, notSent(err)
		}
	}
}

// sendOn sends on one connection. The only error is ErrNotSent.
func sendOn(ctx context.Context, conn *conn, m Outgoing) (Report, error) {
	if size := conn.hello.size; size > 0 && len(m.Entity) > size {
		return reportOf(m, nil, tooLarge(size)), nil
	}
	timeout := m.Timeout
	if timeout == 0 {
		timeout = protocol.DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+answerTimeout-protocol.RequestTimeout)
	defer cancel()
	partial, final, err := conn.do(ctx, request{verb: "SEND", params: m.append, due: len(m.To), body: m.Entity})
	var refused *protocol.Error
	switch {
	case errors.Is(err, ErrNotSent):
		return Report{}, err
	case err != nil && !errors.As(err, &refused):
		final.Status, final.Text = protocol.StatusIndeterminate, "no answer came: "+err.Error()
	}
	return reportOf(m, partial, final), nil
}

// tooLarge answers in the server's place, which closes the connection over
// what is far too large.
func tooLarge(size int) response {
	text := fmt.Sprintf("the server takes messages of at most %d octets", size)
	return response{protocol.Line{Status: protocol.StatusTooLarge, Text: text}}
}

func (m Outgoing) append(b []byte) []byte {
	for _, to := range m.To {
		b = protocol.AppendParam(b, "to", to.String())
	}
	b = protocol.AppendParam(b, "id", m.ID)
	if m.Timeout != 0 {
		b = protocol.AppendInt(b, "timeout", uint64(m.Timeout/time.Second))
	}
	return b
}

// reportOf puts together what was answered: a 100 line for each recipient, or
// one answer for all. Who is missing shares the final status, or is in doubt.
func reportOf(m Outgoing, partial []response, final response) Report {
	report := Report{ID: m.ID}
	told := make(map[protocol.Address]protocol.Outcome, len(partial))
	for i := range partial {
		l := &partial[i].Line
		if to, err := protocol.ParseAddress(textParam(l, "to")); err == nil {
			told[to.FoldCase()] = understood(protocol.Outcome{Status: protocol.Status(intParam(l, "status")), Text: l.Text})
		}
	}
	rest := understood(protocol.Outcome{Status: final.Status, Text: final.Text})
	seen := make(map[protocol.Address]bool, len(m.To))
	for _, to := range m.To {
		if seen[to] {
			continue
		}
		seen[to] = true
		outcome, ok := told[to.FoldCase()]
		if !ok {
			outcome = rest
		}
		report.Each = append(report.Each, Result{to, outcome})
	}
	report.Status = report.common()
	return report
}

// understood returns an outcome as it may be reported: a status that says
// neither that the message was delivered nor that it was not leaves it in doubt.
func understood(o protocol.Outcome) protocol.Outcome {
	switch {
	case o.Status == protocol.StatusOK, o.Status == protocol.StatusIndeterminate, o.Status/100 == 4, o.Status/100 == 5:
		return o
	}
	return protocol.Outcome{Status: protocol.StatusIndeterminate, Text: o.Text}
}

// doubtful returns the recipients in doubt.
func (r *Report) doubtful() []protocol.Address {
	var to []protocol.Address
	for _, result := range r.Each {
		if result.Status == protocol.StatusIndeterminate {
			to = append(to, result.To)
		}
	}
	return to
}

// settle merges the results of a repeat: only a 200 resolves a recipient in
// doubt; any other status describes the repeat itself.
func (r *Report) settle(repeat Report) {
	for _, again := range repeat.Each {
		for i := range r.Each {
			if r.Each[i].To == again.To && again.Status == protocol.StatusOK {
				r.Each[i].Outcome = again.Outcome
			}
		}
	}
	r.Status = r.common()
}

// common returns the status that all have, or 207.
func (r *Report) common() protocol.Status {
	for _, result := range r.Each {
		if result.Status != r.Each[0].Status {
			return protocol.StatusMixed
		}
	}
	return r.Each[0].Status
}
