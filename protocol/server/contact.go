package server

import (
	"context"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// handleContact lists the user's contacts, or adds, renames or removes one
// (SIMP.md, section 8).
func (s *session) handleContact(ctx context.Context, r *request) error {
	address, given := r.line.Get("ima")
	if !given && !r.hasNoneOf("name", "remove") {
		return protocol.Errorf(protocol.StatusBadRequest, "ima is missing: CONTACT ima=IMA")
	}
	if !given {
		all, partial := s.user.Contacts()
		s.chargeLines(len(all))
		s.respond(r, contactLines(r, all, partial))
		return nil
	}
	if err := s.changeContact(ctx, r, address); err != nil {
		return err
	}
	s.respondOK(r)
	return nil
}

func contactLines(r *request, contacts []protocol.Contact, partial bool) []byte {
	var b []byte
	for _, c := range contacts {
		b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusPartial)
		b = protocol.AppendEnd(appendContact(b, c))
	}
	b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusOK)
	if partial {
		b = protocol.AppendParam(b, "partial", "yes")
	}
	return b
}

func appendContact(b []byte, c protocol.Contact) []byte {
	b = protocol.AppendParam(b, "ima", c.Address.String())
	if c.Name != "" {
		b = protocol.AppendParam(b, "name", c.Name)
	}
	if c.Group != "" {
		b = protocol.AppendParam(b, "group", c.Group)
	}
	return b
}

// NotifyContact sends a change of the contacts through groups, except to clients
// of SIMP/1.0, which does not have it.
func (s *session) NotifyContact(n *protocol.ContactNotice) bool {
	if s.minor < 1 {
		return false
	}
	s.conn.SendUpdate(&renderedContactNotice{n, appendContactNotice(n)})
	return true
}

func appendContactNotice(n *protocol.ContactNotice) []byte {
	b := appendContact(protocol.AppendRequest(make([]byte, 0, 160), "*", "CONTACT"), n.Contact)
	if n.Group == "" {
		b = protocol.AppendParam(b, "remove", "yes")
	}
	return protocol.AppendEnd(b)
}

// renderedContactNotice is a change of the contacts with its encoded line. A
// newer one about the same contact may replace it while it is queued.
type renderedContactNotice struct {
	*protocol.ContactNotice
	line []byte
}

// contactSubject is the subject of a renderedContactNotice: it is not that of
// the contact's presence.
type contactSubject struct{ protocol.Address }

var _ netio.Update = (*renderedContactNotice)(nil)

func (n *renderedContactNotice) Size() int                      { return netio.FrameCost + cap(n.line) }
func (n *renderedContactNotice) Begin(time.Time) bool           { return true }
func (n *renderedContactNotice) AppendTo(b []byte) []byte       { return append(b, n.line...) }
func (n *renderedContactNotice) Requeue()                       {}
func (n *renderedContactNotice) IsDropped() bool                { return false }
func (n *renderedContactNotice) Line() []byte                   { return n.line }
func (n *renderedContactNotice) Subject() any                   { return contactSubject{n.Address} }
func (n *renderedContactNotice) Replaces(netio.Update) bool     { return true }
func (n *renderedContactNotice) IsSameChange(netio.Update) bool { return false }

func (s *session) changeContact(ctx context.Context, r *request, address string) error {
	if all, err := s.addresses(nil, r, "ima"); err != nil {
		return err
	} else if len(all) > 1 {
		return protocol.Errorf(protocol.StatusBadRequest, "ima is given twice")
	}
	a, err := s.server.parseAddress(address)
	if err != nil {
		return err
	}
	name, err := noteParam(r, "name")
	if err != nil {
		return err
	}
	remove, err := boolParam(r, "remove")
	if err != nil {
		return err
	}
	if _, err := s.awaitChange(ctx, listChange); err != nil {
		return err
	}
	if remove {
		return s.user.RemoveContact(ctx, a)
	}
	c := protocol.Contact{Address: a}
	if name != nil {
		c.Name = *name
	}
	return s.user.SetContact(ctx, c)
}
