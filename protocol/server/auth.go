package server

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/sasl"
)

// handleAuth starts a SASL exchange (SIMP.md, section 4).
func (s *session) handleAuth(ctx context.Context, r *request) error {
	data, given, err := s.startAuth(r)
	if err != nil {
		return err
	}
	s.auth.tag, s.auth.octets, s.auth.startedAt = r.line.Tag, r.octets, time.Now()
	if !given { // the client begins
		s.sendChallenge(r.line.Tag, nil)
		return nil
	}
	s.stepAuth(ctx, data)
	return nil
}

// handleMore continues an AUTH. It has that request's tag, and is not a
// request of its own: an error ends, and answers, the AUTH.
func (s *session) handleMore(ctx context.Context, r *request) error {
	defer s.inflight.release(r.octets)
	if s.auth == nil || s.auth.tag != r.line.Tag {
		s.reply(r.line.Tag, protocol.AppendEnd(refusal(r.line.Tag,
			protocol.Errorf(protocol.StatusWrongState, "MORE bears the tag of the AUTH that it continues"))))
		return nil
	}
	if cancel, err := boolParam(r, "cancel"); cancel || err != nil {
		s.cancelAuth()
		return nil
	}
	data, given, err := authData(r)
	if err == nil && !given {
		err = protocol.Errorf(protocol.StatusBadRequest, "data is missing: MORE data=BASE64")
	}
	if err != nil {
		s.failAuth(err)
		return nil
	}
	s.stepAuth(ctx, data)
	return nil
}

// isNonBlockingAuth reports whether r is a SCRAM step that can run on the
// event loop, because the client does the expensive part. A step blocks if a
// verifier has to be checked, if attempts at the account have to take turns,
// or if the name needs IDNA. It is called while no task is running.
func (s *session) isNonBlockingAuth(r *request) bool {
	switch r.line.Verb {
	case "AUTH":
		mech, _ := r.line.Get("mech")
		mech = strings.ToUpper(mech)
		return (mech == sasl.NameScram || mech == sasl.NamePlus) && !namesInIDN(r)
	case "MORE":
		if s.auth != nil {
			m, scram := s.auth.Mechanism.(*sasl.Scram)
			return scram && !m.StepBlocks() && !namesInIDN(r)
		}
	}
	return false
}

// namesInIDN reports whether the data of an AUTH or MORE may contain an
// address that needs IDNA.
func namesInIDN(r *request) bool {
	data, _, err := authData(r)
	return err == nil && protocol.NeedsIDNA(string(data))
}

func (s *session) startAuth(r *request) (data []byte, given bool, err error) {
	if s.state.isAuthenticated() {
		return nil, false, protocol.Errorf(protocol.StatusWrongState, "this connection is authenticated already")
	}
	if r.line.Tag == "*" {
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "AUTH requires a tag")
	}
	mech, ok := r.line.Get("mech")
	if !ok {
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "mech is missing: AUTH mech=SCRAM-SHA-256")
	}
	m, err := s.newMechanism(mech)
	if err != nil {
		return nil, false, err
	}
	if data, given, err = authData(r); err != nil {
		return nil, false, err
	}
	s.auth = &authExchange{Mechanism: m}
	return data, given, nil
}

// authData returns the data of a request, which may be a parameter or a
// literal.
func authData(r *request) (data []byte, given bool, err error) {
	v, param := r.line.Get("data")
	switch {
	case r.tooLarge:
		return nil, false, protocol.Errorf(protocol.StatusTooLarge, "data has more than %d octets", protocol.MaxAuthData)
	case param && r.line.Literal >= 0:
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "data is given twice")
	case r.line.Literal >= 0:
		v = string(r.literal)
	case !param:
		return nil, false, nil
	}
	data, err = base64.StdEncoding.Strict().DecodeString(v)
	if err != nil {
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "data is not valid base64")
	}
	return data, true, nil
}

// stepAuth processes the client's initial response, or its response to a
// challenge.
func (s *session) stepAuth(ctx context.Context, data []byte) {
	answer, done, err := s.auth.Step(ctx, data)
	switch {
	case err != nil:
		s.failAuth(err)
	case !done:
		s.sendChallenge(s.auth.tag, answer)
	default:
		s.completeAuth(ctx, answer)
	}
}

func (s *session) sendChallenge(tag string, data []byte) {
	b := protocol.AppendResponse(nil, tag, protocol.StatusChallenge)
	b = protocol.AppendParam(b, "data", base64.StdEncoding.EncodeToString(data))
	s.reply(tag, protocol.AppendEnd(b))
}

// completeAuth makes the session that of the authenticated user or domain.
// data is additional data of the mechanism for the response.
func (s *session) completeAuth(ctx context.Context, data []byte) {
	who := s.auth.Identity()
	who.Agent, who.Remote, who.Transport = s.client.Agent, s.client.Remote, s.transport
	who.SharesSource = s.connSlot.isExempt()
	if who.Domain != "" && !s.server.routingConns.acquire(who.Domain, maxRoutingConns) {
		s.failAuth(&protocol.Error{Status: protocol.StatusSlowDown, Text: "too many connections of " + who.Domain, Retry: defaultRetry})
		return
	}
	s.usage.moveTenant(func() { s.client = who })
	user, err := s.server.config.Backend.Login(ctx, s)
	if err != nil {
		s.server.releaseRoute(who.Domain)
		s.failAuth(err)
		return
	}
	s.user = user
	s.server.metrics.Logins.Add(1)
	s.server.config.Backend.Succeeded(s.newAttempt(protocol.Principal{User: who.User, Domain: who.Domain}))
	s.connSlot.markAuthenticated()
	b := protocol.AppendResponse(nil, s.auth.tag, protocol.StatusOK)
	if who.Domain != "" {
		b = protocol.AppendParam(b, "domain", who.Domain)
	} else {
		b = protocol.AppendParam(b, "ima", who.User.String())
	}
	if id := who.AppPassword(); id != 0 {
		b = protocol.AppendInt(b, "app", id)
	}
	if len(data) > 0 {
		b = protocol.AppendParam(b, "data", base64.StdEncoding.EncodeToString(data))
	}
	s.state.setPhase(phaseAuthenticated)
	s.finishAuth(b)
}

// releaseRoute stops counting the connection of a domain; of a user, there is
// no domain.
func (s *Server) releaseRoute(domain string) {
	if domain != "" {
		s.routingConns.release(domain)
	}
}

// failAuth answers an AUTH that failed. After too many failures it closes the
// connection.
func (s *session) failAuth(err error) {
	e := s.server.toError(err)
	switch e.Status {
	case protocol.StatusUnauthorized:
		s.authFailures++
		s.server.metrics.LoginsFailed.Add(1)
	case protocol.StatusSlowDown:
		s.server.metrics.LoginsSlowed.Add(1)
	case protocol.StatusUnavailable:
		s.server.metrics.LoginsUnavailable.Add(1)
	}
	s.finishAuth(refusal(s.auth.tag, e))
	if s.authFailures >= maxFailures {
		s.Bye(protocol.StatusUnauthorized, "too many failed logins")
	}
}

func (s *session) finishAuth(line []byte) {
	l := s.auth
	s.auth = nil
	s.state.endAuth()
	s.reply(l.tag, protocol.AppendEnd(line))
	s.server.metrics.LoginTime.ObserveSince(l.startedAt)
	s.inflight.release(l.octets)
}

// cancelAuth aborts an unanswered AUTH, if there is one.
func (s *session) cancelAuth() {
	if s.auth != nil {
		s.finishAuth(refusal(s.auth.tag, protocol.Errorf(protocol.StatusUnauthorized, "given up")))
	}
}

// newAttempt returns a login attempt of this connection for who.
func (s *session) newAttempt(who protocol.Principal) protocol.Attempt {
	return protocol.Attempt{Principal: who, Source: s.client.Remote.Addr(), Exempt: s.connSlot.isExempt()}
}

func (s *session) userAttempt(user protocol.Address) protocol.Attempt {
	return s.newAttempt(protocol.Principal{User: user})
}

func (s *session) domainAttempt(domain string) protocol.Attempt {
	return s.newAttempt(protocol.Principal{Domain: domain})
}

// checkLoginLimits checks the limits on failed logins. It does not block.
func (s *session) checkLoginLimits(a protocol.Attempt) error {
	return loginLimitError(s.server.config.Backend.Admit(a))
}

// awaitTurn waits at most turnTimeout until the attempt may proceed.
func (s *session) awaitTurn(ctx context.Context, a protocol.Attempt) error {
	if s.server.config.Backend.IsPaced(a) {
		ctx, cancel := context.WithTimeout(ctx, turnTimeout)
		defer cancel()
		if err := loginLimitError(s.server.config.Backend.AwaitTurn(ctx, a)); err != nil {
			return err
		}
	}
	return s.checkLoginLimits(a)
}

func loginLimitError(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return &protocol.Error{
		Status: protocol.StatusSlowDown, Text: "too many failed logins",
		Retry: retrySeconds(wait),
	}
}
