package sasl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"simpd/protocol"
)

// OAuthBearer implements OAUTHBEARER (RFC 7628).
type OAuthBearer struct {
	server Server
	failed error // what the client is told once it has seen the error challenge
	Account
}

// NewOAuthBearer starts OAUTHBEARER.
func NewOAuthBearer(s Server) *OAuthBearer { return &OAuthBearer{server: s} }

// Identity returns the user.
func (o *OAuthBearer) Identity() protocol.Client { return o.client() }

// Step checks the token. One that is not valid is answered with a challenge
// that describes the error; whatever the client says to it, the exchange fails.
func (o *OAuthBearer) Step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	if o.failed != nil {
		return nil, false, o.failed
	}
	user, token, err := o.parse(data)
	if err != nil {
		return nil, false, err
	}
	if err := o.server.AwaitTurn(ctx, user); err != nil {
		return nil, false, err
	}
	if token == "" { // the client wants to know where to get one
		o.failed = errInvalidToken
		return o.errorChallenge("invalid_request", user), false, nil
	}
	verified, err := o.server.AskToken(ctx, user, token)
	var refused *protocol.Error
	switch {
	case errors.As(err, &refused) && refused.Status == protocol.StatusUnauthorized:
		o.server.CountFailure(user)
		o.failed = errInvalidToken
		return o.errorChallenge("invalid_token", user), false, nil
	case err != nil:
		return nil, false, err
	}
	o.User, o.verified = verified.User, &verified
	return nil, true, nil
}

var errInvalidToken = protocol.Errorf(protocol.StatusUnauthorized, "the token is not valid")

var errOAuthSyntax = protocol.Errorf(protocol.StatusBadRequest, "OAUTHBEARER is n,[a=ADDRESS], ^A auth=Bearer TOKEN ^A ^A")

// maxToken is the number of octets of a token.
const maxToken = 8 << 10

// parse reads the client's message (RFC 7628, section 3.1). The user is zero if
// the client does not say who it is.
func (o *OAuthBearer) parse(data []byte) (user protocol.Address, token string, err error) {
	parts := bytes.Split(data, []byte{1})
	if len(parts) < 3 || len(parts[len(parts)-1]) > 0 || len(parts[len(parts)-2]) > 0 {
		return user, "", errOAuthSyntax
	}
	header, name, ok := strings.Cut(strings.TrimSuffix(string(parts[0]), ","), ",")
	switch {
	case !ok && header == "" || header != "n" && header != "y":
		return user, "", errOAuthSyntax
	case strings.HasPrefix(name, "a="):
		name = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name[len("a="):])
		if user, err = o.server.ParseAddress(name); err != nil {
			return user, "", err
		}
	case name != "":
		return user, "", errOAuthSyntax
	}
	found := false
	for _, pair := range parts[1 : len(parts)-2] {
		key, value, ok := strings.Cut(string(pair), "=")
		if !ok || found && key == "auth" {
			return user, "", errOAuthSyntax
		}
		if key == "auth" {
			token, found = value, true
		}
	}
	if !found {
		return user, "", errOAuthSyntax
	}
	if token == "" {
		return user, "", nil
	}
	scheme, token, ok := strings.Cut(token, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken || strings.Trim(token, tokenCharacters) != "" {
		return user, "", errOAuthSyntax
	}
	return user, token, nil
}

// tokenCharacters are those of a bearer token (RFC 6750, section 2.1).
const tokenCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

// errorChallenge returns the error as RFC 7628, section 3.2.2, has it.
func (o *OAuthBearer) errorChallenge(status string, user protocol.Address) []byte {
	e := struct {
		Status        string `json:"status"`
		Scope         string `json:"scope,omitempty"`
		Configuration string `json:"openid-configuration,omitempty"`
		ClientID      string `json:"client_id,omitempty"`
	}{Status: status}
	if p := o.server.TokenProvider(user); p != nil {
		e.Scope, e.Configuration, e.ClientID = p.Scope, p.Configuration, p.ClientID
	}
	b, _ := json.Marshal(e) // strings alone: it can't fail
	return b
}
