package server

import (
	"context"
	"strconv"
	"strings"
	"time"

	"simpd/protocol"
)

// handleHello handles HELLO (SIMP.md, section 4).
func (s *session) handleHello(_ context.Context, r *request) error {
	minor, domain, err := s.checkHello(r)
	if err != nil {
		return err
	}
	s.client.Agent, _ = r.line.Get("agent")
	s.minor = uint8(min(minor, protocol.Minor))
	s.state.setPhase(phaseGreeted)
	s.respond(r, s.helloResponse(r, domain))
	return nil
}

// checkHello checks a HELLO, and returns the minor version and the domain that
// it names; "": none.
func (s *session) checkHello(r *request) (minor int, domain string, err error) {
	if s.state.phase() != phaseConnected {
		return 0, "", protocol.Errorf(protocol.StatusWrongState, "HELLO was said already")
	}
	version, ok := r.line.Get("version")
	if !ok {
		return 0, "", protocol.Errorf(protocol.StatusBadRequest, "version is missing: HELLO version=%s", protocol.Version)
	}
	if minor, err = parseVersion(version); err != nil {
		return 0, "", err
	}
	if agent, _ := r.line.Get("agent"); !protocol.ValidNote(agent) {
		return 0, "", protocol.Errorf(protocol.StatusBadRequest, "agent has more than %d octets", protocol.MaxNote)
	}
	domain, err = s.checkHelloDomain(r)
	return minor, domain, err
}

// checkHelloDomain returns the domain of the address that the client will log
// in with, if it names one; otherwise "". It is parsed at once, whatever its script: a
// HELLO that waited could be answered after a STARTTLS that follows it, and
// few are read before AUTH.
func (s *session) checkHelloDomain(r *request) (domain string, err error) {
	v, given := r.line.Get("domain")
	if !given {
		return "", nil
	}
	domain, err = protocol.ParseDomain(v)
	switch {
	case strings.HasPrefix(v, "["):
		domain = protocol.Quote(v)
	case err != nil:
		return "", err
	case s.server.isLocalDomain(domain):
		return domain, nil
	}
	return "", protocol.Errorf(protocol.StatusForbidden, "%s is not a domain of this site", domain)
}

// parseVersion returns the minor version of any SIMP/1.x: newer ones are
// backward compatible, and so all above this server's are the same to it.
func parseVersion(version string) (minor int, err error) {
	numbers, ok := strings.CutPrefix(strings.ToUpper(version), "SIMP/")
	major, minorText, dot := strings.Cut(numbers, ".")
	if !ok || !dot || !isNumber(major) || !isNumber(minorText) {
		return 0, protocol.Errorf(protocol.StatusBadRequest, "invalid version %s: must be SIMP/1.1 or SIMP/1.0", protocol.Quote(version))
	}
	if major != "1" {
		return 0, protocol.Errorf(protocol.StatusVersion, "this server speaks %s", protocol.Version)
	}
	if minor, err = strconv.Atoi(minorText); err != nil { // too long a number
		minor = protocol.Minor
	}
	return minor, nil
}

// isNumber reports whether s consists of digits, however many.
func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func (s *session) helloResponse(r *request, domain string) []byte {
	c := &s.server.config
	b := response(r, protocol.StatusOK)
	b = protocol.AppendParam(b, "version", protocol.VersionName(int(s.minor)))
	b = protocol.AppendParam(b, "domain", c.Domains[0])
	b = protocol.AppendInt(b, "size", protocol.MaxEntity)
	b = protocol.AppendInt(b, "idle", uint64(c.Idle/time.Second))
	b = protocol.AppendParam(b, "auth", strings.Join(s.offeredMechanisms(domain), ","))
	b = protocol.AppendParam(b, "history", c.Backend.Greeting().History)
	switch {
	case s.tls != nil:
		b = protocol.AppendParam(b, "tls", "on")
	case s.mayStartTLS():
		b = protocol.AppendParam(b, "tls", "starttls")
	}
	return b
}
