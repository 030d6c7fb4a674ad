package server

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"simpd/protocol"
)

// handleApp lists the user's app passwords, or adds or removes one (SIMP.md,
// section 4).
func (s *session) handleApp(ctx context.Context, r *request) error {
	name, add := r.line.Get("add")
	id, remove := r.line.Get("remove")
	switch {
	case add && remove:
		return protocol.Errorf(protocol.StatusBadRequest, "add and remove exclude each other")
	case add:
		return s.addAppPassword(ctx, r, name)
	case remove:
		return s.removeAppPassword(ctx, r, id)
	}
	s.respond(r, appPasswordLines(r, s.user.AppPasswords()))
	return nil
}

func appPasswordLines(r *request, list []protocol.AppPassword) []byte {
	var b []byte
	for i := range list {
		p := &list[i]
		b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusPartial)
		b = protocol.AppendInt(b, "id", p.ID)
		b = protocol.AppendParam(b, "name", p.Name)
		b = protocol.AppendTime(b, "created", p.Created)
		if !p.Used.IsZero() {
			b = protocol.AppendParam(b, "used", p.Used.UTC().Format(time.DateOnly))
		}
		if !p.Until.IsZero() {
			b = protocol.AppendTime(b, "until", p.Until)
		}
		b = protocol.AppendEnd(b)
	}
	return protocol.AppendResponse(b, r.line.Tag, protocol.StatusOK)
}

// refuseAppPassword returns an error if the session was opened with an app
// password: whoever has a device must not lock its owner out.
func (s *session) refuseAppPassword() error {
	if s.client.UsesAppPassword {
		return protocol.Errorf(protocol.StatusForbidden, "this session uses an app password: log in with the account's own password to change passwords")
	}
	return nil
}

// addAppPassword makes an app password, and shows it in the response: it is
// shown nowhere else.
func (s *session) addAppPassword(ctx context.Context, r *request, name string) error {
	if err := s.refuseAppPassword(); err != nil {
		return err
	}
	p, err := s.decodeAppPassword(r, name)
	if err != nil {
		return err
	}
	if _, err := s.awaitChange(ctx, presenceChange); err != nil { // it costs a hash
		return err
	}
	random := make([]byte, protocol.AppPasswordOctets)
	rand.Read(random) // never fails
	password := protocol.NewAppPassword(random)
	var id uint64
	err = s.retryOtherSalt(func() error {
		own, _ := s.server.config.Backend.Credentials(s.client.User)
		c, err := s.server.hasher.NewCredentialsLike(own, password)
		if err == nil {
			id, err = s.user.AddAppPassword(ctx, p, c)
		}
		return err
	})
	if err != nil {
		return err
	}
	b := protocol.AppendInt(response(r, protocol.StatusOK), "id", id)
	s.respond(r, protocol.AppendParam(b, "data", password))
	return nil
}

func (s *session) decodeAppPassword(r *request, name string) (p protocol.AppPassword, err error) {
	if !s.allowsPlain() {
		return p, protocol.Errorf(protocol.StatusTLSNeeded, "a password is said under TLS only")
	}
	if name == "" || !protocol.ValidNote(name) {
		return p, protocol.Errorf(protocol.StatusBadRequest, "add must name the device or program, in 1 to %d octets", protocol.MaxNote)
	}
	p.Name = name
	until, given := r.line.Get("until")
	if !given {
		return p, nil
	}
	if p.Until, err = time.Parse(time.RFC3339Nano, until); err != nil || !p.Until.After(time.Now()) || p.Until.UTC().Year() > 9999 {
		return p, protocol.Errorf(protocol.StatusBadRequest, "until=%s is not a time in the future, such as 2030-12-31T23:59:59Z", protocol.Quote(until))
	}
	return p, nil
}

func (s *session) removeAppPassword(ctx context.Context, r *request, id string) error {
	if err := s.refuseAppPassword(); err != nil {
		return err
	}
	number, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return protocol.Errorf(protocol.StatusBadRequest, "remove=%s is not the id of an app password", protocol.Quote(id))
	}
	if _, err := s.awaitChange(ctx, listChange); err != nil {
		return err
	}
	if err := s.user.RemoveAppPassword(ctx, number); err != nil {
		return err
	}
	s.respondOK(r)
	return nil
}
