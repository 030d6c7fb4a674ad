package client

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/xdg-go/scram"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// The mechanisms, the best first.
const (
	mechPlus  = "SCRAM-SHA-256-PLUS"
	mechScram = "SCRAM-SHA-256"
	mechPlain = "PLAIN"
)

// secret holds the password, which SetPassword changes, and the keys derived
// from it, so that it is hashed only once.
type secret struct {
	mu       sync.Mutex
	password string
	keys     *scram.Client
}

func (s *secret) set(user protocol.Address, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.password = password
	s.keys, _ = scram.SHA256.NewClientUnprepped(user.String(), protocol.PreparePassword(password), "") // which can't fail
}

func (s *secret) get() (string, *scram.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.password, s.keys
}

// authenticate logs the user in with a token, or with the best SASL mechanism
// for passwords that both sides support.
func (d *dialer) authenticate(ctx context.Context, o *outbound.Conn) error {
	if d.config.Token != nil {
		return d.authToken(ctx, o)
	}
	password, keys := d.secret.get()
	binding, bindable := channelBinding(o)
	switch offers := o.Hello.Auth; {
	case prefersPlain(o, password):
		return d.authPlain(o, password)
	case bindable && slices.Contains(offers, mechPlus):
		return authScram(o, mechPlus, keys.NewConversationWithChannelBinding(binding))
	case bindable && slices.Contains(offers, mechScram):
		// If somebody took PLUS out of the offer, the server will notice.
		return authScram(o, mechScram, keys.NewConversationAdvertisingChannelBinding())
	case slices.Contains(offers, mechScram):
		return authScram(o, mechScram, keys.NewConversation())
	case slices.Contains(offers, mechPlain):
		return d.authPlain(o, password)
	}
	return outbound.ProtocolError("none of its ways to log in is known here: %s", strings.Join(o.Hello.Auth, ", "))
}

// prefersPlain reports whether the server recommends PLAIN, as it does where a
// directory checks passwords, and may be sent the password. The server itself
// checks app passwords, which SCRAM is for.
func prefersPlain(o *outbound.Conn, password string) bool {
	offers := o.Hello.Auth
	return (o.TLS != nil || o.IsLoopback()) && len(offers) > 0 && offers[0] == mechPlain && !protocol.HasAppPasswordForm(password)
}

// channelBinding returns the TLS channel binding of the connection (RFC
// 9266).
func channelBinding(o *outbound.Conn) (scram.ChannelBinding, bool) {
	if o.TLS == nil {
		return scram.ChannelBinding{}, false
	}
	binding, err := scram.NewTLSExporterBinding(o.TLS)
	return binding, err == nil
}

// authScram runs SCRAM-SHA-256 (RFC 5802, RFC 7677). It succeeds only if the
// server has proved that it knows the password's verifier.
func authScram(o *outbound.Conn, mech string, c *scram.ClientConversation) error {
	const tag = "auth"
	first, err := c.Step("")
	if err != nil {
		return fmt.Errorf("%s: %w", mech, err)
	}
	l, err := o.Exchange(tag, "AUTH", func(b []byte) []byte {
		return outbound.AppendData(protocol.AppendParam(b, "mech", mech), first)
	})
	for err == nil && l.Status == protocol.StatusChallenge && !c.Done() {
		var answer string
		if answer, err = answerChallenge(c, l); err == nil {
			l, err = o.Exchange(tag, "MORE", func(b []byte) []byte { return outbound.AppendData(b, answer) })
		}
	}
	if err != nil {
		return err
	}
	if _, err := answerChallenge(c, l); err != nil || !c.Valid() || l.Status != protocol.StatusOK {
		return outbound.ProtocolError("it did not prove that it knows the password")
	}
	return nil
}

// answerChallenge answers one SCRAM challenge.
func answerChallenge(c *scram.ClientConversation, l *protocol.Line) (string, error) {
	challenge, err := base64.StdEncoding.DecodeString(outbound.TextParam(l, "data"))
	if err != nil {
		return "", outbound.ProtocolError("the challenge is not valid base64")
	}
	if err := checkIterations(string(challenge)); err != nil {
		return "", err
	}
	answer, err := c.Step(string(challenge))
	if err != nil {
		return "", outbound.ProtocolError("%v", err)
	}
	return answer, nil
}

// checkIterations refuses iteration counts that would take minutes.
func checkIterations(challenge string) error {
	for attribute := range strings.SplitSeq(challenge, ",") {
		work, ok := strings.CutPrefix(attribute, "i=")
		if n, err := strconv.Atoi(work); ok && (err != nil || n > protocol.MaxScramIterations) {
			return outbound.ProtocolError("it demands %s iterations of hashing", protocol.Quote(work))
		}
	}
	return nil
}

// authPlain sends the password itself, only over TLS or on loopback.
func (d *dialer) authPlain(o *outbound.Conn, password string) error {
	if o.TLS == nil && !o.IsLoopback() {
		return fmt.Errorf("%w to send the password in clear", errUnsafe)
	}
	data := "\x00" + d.config.User.String() + "\x00" + protocol.PreparePassword(password)
	_, err := o.ExchangeFinal("auth", "AUTH", func(b []byte) []byte {
		return outbound.AppendData(protocol.AppendParam(b, "mech", mechPlain), data)
	})
	return err
}
