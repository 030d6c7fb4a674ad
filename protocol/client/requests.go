package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// ListenResult is the result of LISTEN.
type ListenResult struct {
	Session string // the session's name
	Index   uint64 // from which the site finds it
}

// Listen makes messages arrive at Config.OnMessage (SIMP.md, section 5). Each
// new connection listens again, not exclusively, until Unlisten or until
// another session displaces this one. The error has status 409 if the client
// listens already.
func (c *Client) Listen(ctx context.Context, l protocol.ListenRequest) (ListenResult, error) {
	_, r, err := c.updateDesired(ctx, listenRequest(l), func(w *desiredState) { w.listen = &l })
	if err != nil {
		return ListenResult{}, err
	}
	return ListenResult{outbound.TextParam(&r.Line, "session"), outbound.UintParam(&r.Line, "index")}, nil
}

func listenRequest(l protocol.ListenRequest) request {
	return request{verb: "LISTEN", params: func(b []byte) []byte {
		if l.State.Listening() {
			b = protocol.AppendParam(b, "state", l.State.String())
		}
		if l.Note != "" {
			b = protocol.AppendParam(b, "note", l.Note)
		}
		if l.Exclusive {
			b = protocol.AppendParam(b, "mode", "exclusive")
		}
		return b
	}}
}

// SetState changes what watchers see. A nil note keeps the present one. It
// returns the index of the change.
func (c *Client) SetState(ctx context.Context, s protocol.State, note *string) (uint64, error) {
	r := request{verb: "STATE", params: func(b []byte) []byte {
		b = protocol.AppendParam(b, "state", s.String())
		if note != nil {
			b = protocol.AppendParam(b, "note", *note)
		}
		return b
	}}
	_, final, err := c.updateDesired(ctx, r, func(w *desiredState) { w.setState(s, note) })
	return outbound.UintParam(&final.Line, "index"), err
}

func (w *desiredState) setState(s protocol.State, note *string) {
	if w.listen == nil {
		return
	}
	changed := *w.listen
	changed.State = s
	if note != nil {
		changed.Note = *note
	}
	w.listen = &changed
}

// Unlisten ends listening. It returns the index of the change.
func (c *Client) Unlisten(ctx context.Context) (uint64, error) {
	_, final, err := c.updateDesired(ctx, request{verb: "UNLISTEN"}, func(w *desiredState) { w.listen = nil })
	return outbound.UintParam(&final.Line, "index"), err
}

// SetPassword changes the user's password and continues with the new one. The
// user's other connections are closed. If the connection ends before the
// response (ErrLost), either password may be valid. A password that
// protocol.CheckPassword refuses is not sent.
func (c *Client) SetPassword(ctx context.Context, new string) error {
	if err := protocol.CheckPassword(new); err != nil {
		return err
	}
	cur, err := c.awaitConn(ctx)
	if err != nil {
		return err
	}
	if cur.TLS == nil && !cur.IsLoopback() {
		return fmt.Errorf("%w to send a password in clear", errUnsafe)
	}
	old, _ := c.secret.get()
	data := protocol.PreparePassword(old) + "\x00" + protocol.PreparePassword(new)
	_, _, err = c.roundTripOn(ctx, cur, request{verb: "PASSWD", params: func(b []byte) []byte { return outbound.AppendData(b, data) }})
	if err == nil {
		c.secret.set(c.config.User, new)
	}
	return err
}

// Ping sends a PING and returns the round-trip time.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	_, _, err := c.roundTrip(ctx, request{verb: "PING"})
	return time.Since(began), err
}

// Rules returns the user's rules (SIMP.md, section 8).
func (c *Client) Rules(ctx context.Context) ([]protocol.Rule, error) {
	partial, _, err := c.roundTrip(ctx, request{verb: "ACL", maxPartial: protocol.MaxRules})
	var rules []protocol.Rule
	for i := range partial {
		l := &partial[i].Line
		who, bad := protocol.ParsePattern(outbound.TextParam(l, "who"))
		if bad != nil {
			continue
		}
		r := protocol.Rule{Who: who}
		r.Message, _ = protocol.ParsePermission(outbound.TextParam(l, "message"))
		r.Presence, _ = protocol.ParsePermission(outbound.TextParam(l, "presence"))
		rules = append(rules, r)
	}
	return rules, err
}

// SetRule sets a rule, or removes it if both permissions are unset.
func (c *Client) SetRule(ctx context.Context, r protocol.Rule) error {
	_, _, err := c.roundTrip(ctx, request{verb: "ACL", params: func(b []byte) []byte {
		b = protocol.AppendParam(b, "who", r.Who.String())
		if r.Message != protocol.Unset {
			b = protocol.AppendParam(b, "message", r.Message.String())
		}
		if r.Presence != protocol.Unset {
			b = protocol.AppendParam(b, "presence", r.Presence.String())
		}
		return b
	}})
	return err
}

// Contacts returns the user's contact list, with the contacts through groups of a
// directory.
func (c *Client) Contacts(ctx context.Context) ([]protocol.Contact, error) {
	partial, _, err := c.roundTrip(ctx, request{verb: "CONTACT", maxPartial: protocol.MaxContacts})
	var contacts []protocol.Contact
	for i := range partial {
		if contact, ok := parseContact(&partial[i].Line); ok {
			contacts = append(contacts, contact)
		}
	}
	return contacts, err
}

// parseContact parses a line about a contact. It copies what it keeps of the line.
func parseContact(l *protocol.Line) (c protocol.Contact, ok bool) {
	a, err := protocol.ParseAddress(strings.Clone(outbound.TextParam(l, "ima")))
	return protocol.Contact{
		Address: a, Name: strings.Clone(outbound.TextParam(l, "name")), Group: strings.Clone(outbound.TextParam(l, "group")),
	}, err == nil
}

// SetContact adds or renames a contact.
func (c *Client) SetContact(ctx context.Context, contact protocol.Contact) error {
	_, _, err := c.roundTrip(ctx, request{verb: "CONTACT", params: func(b []byte) []byte {
		b = protocol.AppendParam(b, "ima", contact.Address.String())
		if contact.Name != "" {
			b = protocol.AppendParam(b, "name", contact.Name)
		}
		return b
	}})
	return err
}

// RemoveContact removes a contact.
func (c *Client) RemoveContact(ctx context.Context, a protocol.Address) error {
	_, _, err := c.roundTrip(ctx, request{verb: "CONTACT", params: func(b []byte) []byte {
		b = protocol.AppendParam(b, "ima", a.String())
		return protocol.AppendParam(b, "remove", "yes")
	}})
	return err
}

// Watchers returns who watches the user. partial reports that a node of the
// site did not answer in time.
func (c *Client) Watchers(ctx context.Context) (by []protocol.Address, partial bool, err error) {
	lines, final, err := c.roundTrip(ctx, request{verb: "WATCHERS", maxPartial: maxWatchers})
	for i := range lines {
		if a, bad := protocol.ParseAddress(outbound.TextParam(&lines[i].Line, "ima")); bad == nil {
			by = append(by, a)
		}
	}
	return slices.Clip(by), outbound.TextParam(&final.Line, "partial") == "yes", err
}
