package client

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"simpd/protocol"
)

// How a domain proves who it is (SIMP.md, section 9).
const (
	mechExternal = "EXTERNAL"
	mechDialback = "DIALBACK"
	minNonce     = 16 // octets
)

// open makes a routing connection, authenticated as w.own.
func (r *Relay) open(ctx context.Context, w way) (*opening, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	o, err := r.reach(ctx, w)
	if err != nil {
		return nil, err
	}
	if err := o.within(ctx, func() error { return r.prove(o, w) }); err != nil {
		return nil, fmt.Errorf("%s does not take this site for %s: %w", o.target, w.own, err)
	}
	return o, nil
}

// prove authenticates, by certificate where the other site offers that, which
// it does when it was shown one, and else or after a refusal by dialback.
func (r *Relay) prove(o *opening, w way) error {
	external, dialback := slices.Contains(o.hello.auth, mechExternal), slices.Contains(o.hello.auth, mechDialback)
	failed := protocolError("it offers neither EXTERNAL nor DIALBACK but %s", strings.Join(o.hello.auth, ", "))
	if external && r.Certificate(w.own) != nil {
		if failed = o.external(w); failed == nil || !errors.As(failed, new(*protocol.Error)) {
			return failed
		}
	}
	if dialback {
		return r.dialback(o, w)
	}
	return failed
}

func (o *opening) external(w way) error {
	_, err := o.conclude("ext", "AUTH", func(b []byte) []byte {
		return appendData(protocol.AppendParam(b, "mech", mechExternal), w.own)
	})
	return err
}

// dialback answers a nonce with what only this site can make, and can
// recognise when the other site asks it.
func (r *Relay) dialback(o *opening, w way) error {
	l, err := o.exchange("back", "AUTH", func(b []byte) []byte {
		return appendData(protocol.AppendParam(b, "mech", mechDialback), w.own)
	})
	if err != nil {
		return err
	}
	nonce, err := base64.StdEncoding.DecodeString(textParam(l, "data"))
	if err != nil || l.Status != protocol.StatusChallenge || len(nonce) < minNonce {
		return protocolError("its challenge has no nonce of %d octets", minNonce)
	}
	_, err = o.conclude("back", "MORE", func(b []byte) []byte {
		return appendData(b, string(r.Proof(w.own, w.other, nonce)))
	})
	return err
}

// Verify asks caller's home server whether data is its proof to called, one
// of this site's domains, for nonce. It returns nil if so, a *protocol.Error of
// status 401 if not, and one of 429, 502 or 504 if nobody could be asked.
func (r *Relay) Verify(ctx context.Context, caller, called string, nonce, data []byte) error {
	done, ok := r.verifying.begin(caller)
	if !ok {
		return &protocol.Error{Status: protocol.StatusSlowDown, Text: "too many dialbacks are being looked into", Retry: 5}
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	o, err := r.reach(ctx, way{called, caller})
	if err == nil {
		err = o.within(ctx, func() error { return o.verify(caller, called, nonce, data) })
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
	why := outcomeOf(fmt.Errorf("asking the home server of %s: %w", caller, err))
	return &protocol.Error{Status: why.Status, Text: why.Text}
}

func (o *opening) verify(caller, called string, nonce, data []byte) error {
	_, err := o.conclude("verify", "VERIFY", func(b []byte) []byte {
		b = protocol.AppendParam(b, "domain", called)
		b = protocol.AppendParam(b, "caller", caller)
		b = protocol.AppendParam(b, "nonce", base64.StdEncoding.EncodeToString(nonce))
		return appendData(b, string(data))
	})
	return err
}
