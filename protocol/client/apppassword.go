package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// ErrNotSupported means that the server is older than the request. It is
// wrapped together with the server's refusal.
var ErrNotSupported = errors.New("the server does not support this")

// AppPasswords returns the user's app passwords (SIMP.md, section 4).
func (c *Client) AppPasswords(ctx context.Context) ([]protocol.AppPassword, error) {
	lines, _, err := c.roundTrip(ctx, request{verb: "APP", maxPartial: protocol.MaxAppPasswords})
	var list []protocol.AppPassword
	for i := range lines {
		l := &lines[i].Line
		p := protocol.AppPassword{ID: outbound.UintParam(l, "id"), Name: strings.Clone(outbound.TextParam(l, "name"))}
		p.Created, _ = time.Parse(time.RFC3339Nano, outbound.TextParam(l, "created"))
		p.Used, _ = time.Parse(time.DateOnly, outbound.TextParam(l, "used"))
		p.Until, _ = time.Parse(time.RFC3339Nano, outbound.TextParam(l, "until"))
		list = append(list, p)
	}
	return list, supportError(err)
}

// AddAppPassword has the server make an app password, which ends at until
// unless that is zero, and returns its ID and the password itself, which is
// shown nowhere else. If the connection ends before the response (ErrLost),
// there may be an app password that nobody knows: AppPasswords shows it.
func (c *Client) AddAppPassword(ctx context.Context, name string, until time.Time) (id uint64, password string, err error) {
	cur, err := c.awaitConn(ctx)
	if err != nil {
		return 0, "", err
	}
	if cur.TLS == nil && !cur.IsLoopback() {
		return 0, "", fmt.Errorf("%w to receive a password in clear", errUnsafe)
	}
	_, r, err := c.roundTripOn(ctx, cur, request{verb: "APP", params: func(b []byte) []byte {
		b = protocol.AppendParam(b, "add", name)
		if !until.IsZero() {
			b = protocol.AppendTime(b, "until", until)
		}
		return b
	}})
	if err != nil {
		return 0, "", supportError(err)
	}
	return outbound.UintParam(&r.Line, "id"), strings.Clone(outbound.TextParam(&r.Line, "data")), nil
}

// RemoveAppPassword removes an app password. Connections that use it are
// closed.
func (c *Client) RemoveAppPassword(ctx context.Context, id uint64) error {
	_, _, err := c.roundTrip(ctx, request{verb: "APP", params: func(b []byte) []byte {
		return protocol.AppendParam(b, "remove", strconv.FormatUint(id, 10))
	}})
	return supportError(err)
}

// supportError marks the refusal of an unknown command.
func supportError(err error) error {
	var refused *protocol.Error
	if errors.As(err, &refused) && refused.Status == protocol.StatusUnknownVerb {
		return fmt.Errorf("%w: %w", ErrNotSupported, refused)
	}
	return err
}
