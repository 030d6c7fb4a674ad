package server

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"simpd/protocol"
)

// auth begins to prove who the client is (SIMP.md, section 4).
func (s *session) auth(ctx context.Context, r *request) {
	data, given, err := s.beginLogin(r)
	if err != nil {
		s.logging.Store(false)
		s.refuse(r, err)
		return
	}
	s.login.tag, s.login.octets, s.login.begun = r.line.Tag, r.octets, time.Now()
	if !given { // the client begins
		s.challenge(r.line.Tag, nil)
		return
	}
	s.step(ctx, data)
}

// more continues an AUTH. It bears that request's tag, and is none itself.
func (s *session) more(ctx context.Context, r *request) {
	defer s.ledger.settle(r.octets)
	if s.login == nil || s.login.tag != r.line.Tag {
		s.reply(r.line.Tag, protocol.AppendEnd(refusal(r.line.Tag,
			protocol.Errorf(protocol.StatusWrongState, "MORE bears the tag of the AUTH that it continues"))))
		return
	}
	if cancel, err := yes(r, "cancel"); cancel || err != nil {
		s.cancelLogin()
		return
	}
	data, given, err := authData(r)
	if err == nil && !given {
		err = protocol.Errorf(protocol.StatusBadRequest, "data is missing: MORE data=BASE64")
	}
	if err != nil {
		s.endLogin(err)
		return
	}
	s.step(ctx, data)
}

// provesAtOnce reports whether r is a step of SCRAM's, which waits for nobody:
// the client has done what takes long. Only a verifier that has yet to be
// checked is hashed here too, and where many have failed there are turns to
// wait for, and so for a name that needs IDNA. It is asked while no job is being
// done.
func (s *session) provesAtOnce(r *request) bool {
	switch r.line.Verb {
	case "AUTH":
		mech, _ := r.line.Get("mech")
		mech = strings.ToUpper(mech)
		return (mech == mechScram || mech == mechPlus) && !namesInIDN(r)
	case "MORE":
		if s.login != nil {
			m, scram := s.login.mechanism.(*scramLogin)
			if scram {
				m.atOnce = !s.server.verifiers.needsCheck(m.credentials) && !s.server.config.Backend.IsPaced(s.attemptOf(m.user))
			}
			return scram && m.atOnce && !namesInIDN(r)
		}
	}
	return false
}

// namesInIDN reports whether the data of an AUTH or MORE may have an address
// that needs IDNA.
func namesInIDN(r *request) bool {
	data, _, err := authData(r)
	return err == nil && protocol.NeedsIDNA(string(data))
}

func (s *session) beginLogin(r *request) (data []byte, given bool, err error) {
	if s.user != nil {
		return nil, false, protocol.Errorf(protocol.StatusWrongState, "this connection is authenticated already")
	}
	if r.line.Tag == "*" {
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "AUTH wants a tag")
	}
	mech, ok := r.line.Get("mech")
	if !ok {
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "mech is missing: AUTH mech=SCRAM-SHA-256")
	}
	m, err := s.mechanism(mech)
	if err != nil {
		return nil, false, err
	}
	if data, given, err = authData(r); err != nil {
		return nil, false, err
	}
	s.login = &login{mechanism: m}
	return data, given, nil
}

// authData reads data, which may be a param or a literal.
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

// step takes what the client answered to the last challenge, or began with.
func (s *session) step(ctx context.Context, data []byte) {
	answer, done, err := s.login.next(ctx, data)
	switch {
	case err != nil:
		s.endLogin(err)
	case !done:
		s.challenge(s.login.tag, answer)
	default:
		s.enter(ctx, answer)
	}
}

func (s *session) challenge(tag string, data []byte) {
	b := protocol.AppendResponse(nil, tag, protocol.StatusChallenge)
	b = protocol.AppendParam(b, "data", base64.StdEncoding.EncodeToString(data))
	s.reply(tag, protocol.AppendEnd(b))
}

// enter makes the session that of the user who has been proved. data is what
// the mechanism adds to the answer.
func (s *session) enter(ctx context.Context, data []byte) {
	who := s.login.proof()
	who.Agent, who.Remote, who.Transport = s.client.Agent, s.client.Remote, s.transport
	if who.Domain != "" && !s.server.routes.take(who.Domain, maxRoutes) {
		s.endLogin(&protocol.Error{Status: protocol.StatusSlowDown, Text: "too many connections of " + who.Domain, Retry: strangersRetry})
		return
	}
	s.routed = who.Domain != ""
	s.usage.move(func() { s.client = who })
	user, err := s.server.config.Backend.Login(ctx, s)
	if err != nil {
		s.forgetRoute()
		s.endLogin(err)
		return
	}
	s.user = user
	s.server.metrics.Logins.Add(1)
	s.server.config.Backend.Succeeded(s.attempt(protocol.Principal{User: who.User, Domain: who.Domain}))
	s.admitted.prove()
	b := protocol.AppendResponse(nil, s.login.tag, protocol.StatusOK)
	if who.Domain != "" {
		b = protocol.AppendParam(b, "domain", who.Domain)
	} else {
		b = protocol.AppendParam(b, "ima", who.User.String())
	}
	if len(data) > 0 {
		b = protocol.AppendParam(b, "data", base64.StdEncoding.EncodeToString(data))
	}
	s.proved.Store(true)
	s.closeLogin(b)
}

// forgetRoute uncounts a routing connection.
func (s *session) forgetRoute() {
	if s.routed {
		s.server.routes.give(s.client.Domain)
		s.routed = false
	}
}

// endLogin answers an AUTH that failed. After too many the connection ends.
func (s *session) endLogin(err error) {
	e := s.server.toError(err)
	switch e.Status {
	case protocol.StatusUnauthorized:
		s.failures++
		s.server.metrics.LoginsFailed.Add(1)
	case protocol.StatusSlowDown:
		s.server.metrics.LoginsSlowed.Add(1)
	}
	s.closeLogin(refusal(s.login.tag, e))
	if s.failures >= maxFailures {
		s.Bye(protocol.StatusUnauthorized, "too many failed logins")
	}
}

func (s *session) closeLogin(line []byte) {
	l := s.login
	s.login = nil
	s.logging.Store(false)
	s.reply(l.tag, protocol.AppendEnd(line))
	s.server.metrics.LoginTime.Since(l.begun)
	s.ledger.settle(l.octets)
}

// cancelLogin gives an AUTH up, if one is unanswered.
func (s *session) cancelLogin() {
	if s.login != nil {
		s.closeLogin(refusal(s.login.tag, protocol.Errorf(protocol.StatusUnauthorized, "given up")))
	}
}

// attempt is a try of this connection's to be who.
func (s *session) attempt(who protocol.Principal) protocol.Attempt {
	return protocol.Attempt{Principal: who, Source: s.client.Remote.Addr(), Exempt: s.admitted.isExempt()}
}

func (s *session) attemptOf(user protocol.Address) protocol.Attempt {
	return s.attempt(protocol.Principal{User: user})
}

// admit asks the limits of failed logins. It does not wait.
func (s *session) admit(a protocol.Attempt) error {
	return tooManyFailed(s.server.config.Backend.Admit(a))
}

// awaitTurn waits until the attempt may be looked at, turnTime at most.
func (s *session) awaitTurn(ctx context.Context, a protocol.Attempt) error {
	if s.server.config.Backend.IsPaced(a) {
		ctx, cancel := context.WithTimeout(ctx, turnTime)
		defer cancel()
		if err := tooManyFailed(s.server.config.Backend.AwaitTurn(ctx, a)); err != nil {
			return err
		}
	}
	return s.admit(a)
}

func tooManyFailed(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return &protocol.Error{
		Status: protocol.StatusSlowDown, Text: "too many failed logins",
		Retry: int((wait + time.Second - 1) / time.Second),
	}
}

// wrongCredentials is what every failed proof is told, whatever failed.
func (s *session) wrongCredentials(user protocol.Address) error {
	s.server.config.Backend.Failed(s.attemptOf(user))
	return protocol.Errorf(protocol.StatusUnauthorized, "the address or the password is wrong")
}
