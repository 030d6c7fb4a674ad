package server

import (
	"context"
	"strings"
	"time"

	"simpd/protocol"
)

// handleHello handles HELLO (SIMP.md, section 4).
func (s *session) handleHello(_ context.Context, r *request) error {
	if err := s.checkHello(r); err != nil {
		return err
	}
	s.client.Agent, _ = r.line.Get("agent")
	s.state.setPhase(phaseGreeted)
	s.respond(r, s.helloResponse(r))
	return nil
}

func (s *session) checkHello(r *request) error {
	if s.state.phase() != phaseConnected {
		return protocol.Errorf(protocol.StatusWrongState, "HELLO was said already")
	}
	version, ok := r.line.Get("version")
	if !ok {
		return protocol.Errorf(protocol.StatusBadRequest, "version is missing: HELLO version=%s", protocol.Version)
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	if agent, _ := r.line.Get("agent"); !protocol.ValidNote(agent) {
		return protocol.Errorf(protocol.StatusBadRequest, "agent has more than %d octets", protocol.MaxNote)
	}
	return nil
}

// checkVersion accepts any SIMP/1.x: newer minor versions are backward compatible.
func checkVersion(version string) error {
	numbers, ok := strings.CutPrefix(strings.ToUpper(version), "SIMP/")
	major, minor, dot := strings.Cut(numbers, ".")
	if !ok || !dot || !isNumber(major) || !isNumber(minor) {
		return protocol.Errorf(protocol.StatusBadRequest, "invalid version %s: must be SIMP/1.0", protocol.Quote(version))
	}
	if major != "1" {
		return protocol.Errorf(protocol.StatusVersion, "this server speaks %s", protocol.Version)
	}
	return nil
}

// isNumber reports whether s consists of digits, however many.
func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func (s *session) helloResponse(r *request) []byte {
	c := &s.server.config
	b := response(r, protocol.StatusOK)
	b = protocol.AppendParam(b, "version", protocol.Version)
	b = protocol.AppendParam(b, "domain", c.Domains[0])
	b = protocol.AppendInt(b, "size", protocol.MaxEntity)
	b = protocol.AppendInt(b, "idle", uint64(c.Idle/time.Second))
	b = protocol.AppendParam(b, "auth", strings.Join(s.offeredMechanisms(), ","))
	b = protocol.AppendParam(b, "history", c.Backend.Greeting().History)
	switch {
	case s.tls != nil:
		b = protocol.AppendParam(b, "tls", "on")
	case s.mayStartTLS():
		b = protocol.AppendParam(b, "tls", "starttls")
	}
	return b
}
