package server

import (
	"context"

	"simpd/protocol"
)

// handleContact lists the user's contacts, or adds, renames or removes one
// (SIMP.md, section 8).
func (s *session) handleContact(ctx context.Context, r *request) error {
	address, given := r.line.Get("ima")
	if !given && !r.hasNoneOf("name", "remove") {
		return protocol.Errorf(protocol.StatusBadRequest, "ima is missing: CONTACT ima=IMA")
	}
	if !given {
		all := s.user.Contacts()
		s.chargeLines(len(all))
		s.respond(r, contactLines(r, all))
		return nil
	}
	if err := s.changeContact(ctx, r, address); err != nil {
		return err
	}
	s.respondOK(r)
	return nil
}

func contactLines(r *request, contacts []protocol.Contact) []byte {
	var b []byte
	for _, c := range contacts {
		b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusPartial)
		b = protocol.AppendParam(b, "ima", c.Address.String())
		if c.Name != "" {
			b = protocol.AppendParam(b, "name", c.Name)
		}
		b = protocol.AppendEnd(b)
	}
	return protocol.AppendResponse(b, r.line.Tag, protocol.StatusOK)
}

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
