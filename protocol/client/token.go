package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

const mechToken = "OAUTHBEARER"

// Token is an OAuth token to log in with.
type Token struct {
	Value  string
	Expiry time.Time // zero: it is not known
}

// Limits of when a connection is replaced before its token expires.
const (
	maxRenewalMargin = 5 * time.Minute
	minRenewalMargin = 10 * time.Second
	renewalWithin    = 30 * time.Second // for the new connection, and to leave the old one
)

// tokenLife is the lifetime of the newest login's token.
type tokenLife struct {
	mu            sync.Mutex
	began, expiry time.Time
}

func (l *tokenLife) set(expiry time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began, l.expiry = time.Now(), expiry
}

// untilRenewal returns how long to wait before the connection is replaced: until
// a fourth of the token's life, or maxRenewalMargin, is left. ok is false if it
// does not have to be.
func (l *tokenLife) untilRenewal() (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.expiry.IsZero() {
		return 0, false
	}
	margin := max(min(l.expiry.Sub(l.began)/4, maxRenewalMargin), minRenewalMargin)
	return max(time.Until(l.expiry.Add(-margin)), minRenewalMargin/2), true
}

// renewalTimer returns a channel that says when to replace the connection
// before its token expires; nil: never.
func (c *Client) renewalTimer() <-chan time.Time {
	wait, ok := c.life.untilRenewal()
	if !ok {
		return nil
	}
	return time.After(wait)
}

// endedWithToken reports whether a connection ended because its token did. Then
// the client connects with another.
func (c *Client) endedWithToken(why error) bool {
	var refused *protocol.Error
	return c.config.Token != nil && errors.As(why, &refused) && refused.Status == protocol.StatusUnauthorized
}

// authToken logs the user in with a token, only over TLS or on loopback.
func (d *dialer) authToken(ctx context.Context, o *outbound.Conn) error {
	if o.TLS == nil && !o.IsLoopback() {
		return fmt.Errorf("%w to send a token in clear", errUnsafe)
	}
	if !slices.Contains(o.Hello.Auth, mechToken) {
		return outbound.ProtocolError("it does not let users of %s log in with tokens", d.config.User.Domain())
	}
	token, err := d.config.Token(ctx)
	if err != nil {
		return err
	}
	if _, err := d.exchangeToken(o, token.Value); err != nil {
		return err
	}
	d.life.set(token.Expiry)
	return nil
}

// exchangeToken says a token (RFC 7628). If the server refuses it, it returns
// the error that the server describes, and the refusal.
func (d *dialer) exchangeToken(o *outbound.Conn, token string) (challenge []byte, err error) {
	auth := ""
	if token != "" {
		auth = "Bearer " + token
	}
	name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(d.config.User.String())
	l, err := o.Exchange("auth", "AUTH", func(b []byte) []byte {
		return outbound.AppendData(protocol.AppendParam(b, "mech", mechToken), "n,a="+name+",\x01auth="+auth+"\x01\x01")
	})
	if err != nil || l.Status == protocol.StatusOK {
		return nil, err
	}
	if challenge, err = base64.StdEncoding.DecodeString(outbound.TextParam(l, "data")); err != nil {
		return nil, outbound.ProtocolError("its challenge is not valid base64")
	}
	if _, err = o.ExchangeFinal("auth", "MORE", func(b []byte) []byte { return outbound.AppendData(b, "\x01") }); err == nil {
		err = outbound.ProtocolError("it accepts a token that it has refused")
	}
	return challenge, err
}

// FindTokenProvider asks the home server of config.User where users get tokens.
// The error wraps ErrNotSupported if they can't log in with tokens.
func FindTokenProvider(ctx context.Context, config Config) (p protocol.TokenProvider, err error) {
	var running sync.WaitGroup
	defer running.Wait()
	d := &dialer{config: config.withDefaults(), dialsNames: config.Dial != nil, running: &running}
	targets, err := d.targets(ctx)
	if err != nil {
		return p, err
	}
	o, err := d.connector(targets).ConnectAny(ctx, targets, func(conn net.Conn, t outbound.Target) (*outbound.Conn, error) {
		return d.openWith(ctx, t, conn, func(o *outbound.Conn) (err error) {
			p, err = d.askTokenProvider(o)
			return err
		})
	}, isFinal)
	if o != nil {
		_ = o.Close()
	}
	return p, err
}

// askTokenProvider says an empty token.
func (d *dialer) askTokenProvider(o *outbound.Conn) (p protocol.TokenProvider, err error) {
	if !slices.Contains(o.Hello.Auth, mechToken) {
		return p, fmt.Errorf("%w: users of %s can't log in with tokens", ErrNotSupported, d.config.User.Domain())
	}
	challenge, err := d.exchangeToken(o, "")
	var refused *protocol.Error
	if challenge == nil || !errors.As(err, &refused) {
		return p, err
	}
	var e struct {
		Scope         string `json:"scope"`
		Configuration string `json:"openid-configuration"`
		ClientID      string `json:"client_id"`
	}
	if json.Unmarshal(challenge, &e) != nil || e.Configuration == "" {
		return p, outbound.ProtocolError("it does not say where to get a token")
	}
	return protocol.TokenProvider{Configuration: e.Configuration, ClientID: e.ClientID, Scope: e.Scope}, nil
}
