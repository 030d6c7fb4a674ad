package client

import (
	"context"

	"simpd/protocol"
)

// Report tells the operators of the user's site about somebody; if that is a user
// of another site, its operators, too. q.By is not used. With q.Entity, the message
// as it was received, q.Text is not sent.
func (c *Client) Report(ctx context.Context, q protocol.Report) error {
	_, _, err := c.roundTrip(ctx, request{verb: "REPORT", body: q.Entity, params: func(b []byte) []byte {
		b = protocol.AppendParam(b, "ima", q.About.String())
		if q.ID != "" {
			b = protocol.AppendParam(b, "id", q.ID)
		}
		b = protocol.AppendParam(b, "reason", q.Reason.String())
		if q.Entity == nil && q.Text != "" {
			b = protocol.AppendText(b, q.Text)
		}
		return b
	}})
	return supportError(err)
}
