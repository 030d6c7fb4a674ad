package federation

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// How a domain authenticates (SIMP.md, section 9).
const (
	mechExternal = "EXTERNAL"
	mechDialback = "DIALBACK"
	minNonce     = 16 // octets
)

// dialS2S makes a routing connection, authenticated as w.local.
func (r *Relay) dialS2S(ctx context.Context, w domainPair) (*outbound.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	o, err := r.connect(ctx, w)
	if err != nil {
		return nil, err
	}
	if err := o.WithDeadline(ctx, func() error { return r.authenticate(o, w) }); err != nil {
		return nil, &outbound.TargetError{Target: o.Target, Err: fmt.Errorf("it does not take this site for %s: %w", w.local, err)}
	}
	return o, nil
}

// authenticate authenticates by certificate if the other site offers that,
// and otherwise, or after a refusal, by dialback.
func (r *Relay) authenticate(o *outbound.Conn, w domainPair) error {
	external, dialback := slices.Contains(o.Hello.Auth, mechExternal), slices.Contains(o.Hello.Auth, mechDialback)
	failed := outbound.ProtocolError("it offers neither EXTERNAL nor DIALBACK but %s", strings.Join(o.Hello.Auth, ", "))
	if external && r.config.Certificate(w.local) != nil {
		if failed = authExternal(o, w); failed == nil || !errors.As(failed, new(*protocol.Error)) {
			return failed
		}
	}
	if dialback {
		return r.authDialback(o, w)
	}
	return failed
}

func authExternal(o *outbound.Conn, w domainPair) error {
	_, err := o.ExchangeFinal("ext", "AUTH", func(b []byte) []byte {
		return outbound.AppendData(protocol.AppendParam(b, "mech", mechExternal), w.local)
	})
	return err
}

// authDialback answers a nonce with a proof that only this site can make, and
// recognizes when the other site asks it.
func (r *Relay) authDialback(o *outbound.Conn, w domainPair) error {
	l, err := o.Exchange("back", "AUTH", func(b []byte) []byte {
		return outbound.AppendData(protocol.AppendParam(b, "mech", mechDialback), w.local)
	})
	if err != nil {
		return err
	}
	nonce, err := base64.StdEncoding.DecodeString(outbound.TextParam(l, "data"))
	if err != nil || l.Status != protocol.StatusChallenge || len(nonce) < minNonce {
		return outbound.ProtocolError("its challenge has no nonce of %d octets", minNonce)
	}
	_, err = o.ExchangeFinal("back", "MORE", func(b []byte) []byte {
		return outbound.AppendData(b, string(r.Proof(w.local, w.remote, nonce)))
	})
	return err
}

// Verify asks caller's home server whether data is its proof to called, one
// of this site's domains, for nonce. It returns nil if so, a *protocol.Error
// with status 401 if not, and one with 429, 502 or 504 if the server could
// not be asked.
func (r *Relay) Verify(ctx context.Context, caller, called string, nonce, data []byte) error {
	done, ok := r.verifySlots.acquire(caller)
	if !ok {
		return &protocol.Error{Status: protocol.StatusSlowDown, Text: "too many dialbacks are being looked into", Retry: 5}
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	o, err := r.connect(ctx, domainPair{called, caller})
	if err == nil {
		err = o.WithDeadline(ctx, func() error { return sendVerify(o, caller, called, nonce, data) })
	}
	if err == nil {
		_ = o.Close()
		return nil
	}
	var refused *protocol.Error
	if errors.As(err, &refused) && refused.Status == protocol.StatusForbidden {
		return protocol.Errorf(protocol.StatusUnauthorized, "the home server of %s did not say so", caller)
	}
	var unverified *tls.CertificateVerificationError
	if errors.As(err, &unverified) { // whoever is there is not the domain's home server
		return protocol.Errorf(protocol.StatusUnauthorized, "the home server of %s has no certificate of that domain's", caller)
	}
	why := failureOutcome(fmt.Errorf("asking the home server of %s: %w", caller, err))
	return &protocol.Error{Status: why.Status, Text: why.Text}
}

func sendVerify(o *outbound.Conn, caller, called string, nonce, data []byte) error {
	_, err := o.ExchangeFinal("verify", "VERIFY", func(b []byte) []byte {
		b = protocol.AppendParam(b, "domain", called)
		b = protocol.AppendParam(b, "caller", caller)
		b = protocol.AppendParam(b, "nonce", base64.StdEncoding.EncodeToString(nonce))
		return outbound.AppendData(b, string(data))
	})
	return err
}
