package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
	"simpd/protocol/signature"
)

// ErrBadKeyList means that a server sent a list of keys that contradicts
// itself. The error says how.
var ErrBadKeyList = errors.New("the server's list of keys is not consistent")

// CanonicalUser returns the user's address in the form that the site compares,
// which is the one in signatures.
func (c *Client) CanonicalUser() protocol.Address { return canonical(c.config.User) }

// canonical returns an address as its home server writes it. An address that
// no user can have stays as it is.
func canonical(a protocol.Address) protocol.Address {
	folded, _ := a.PRECISFold()
	return folded
}

// Keys returns the verified list of the public keys of the user's own devices
// (SIMP.md, section 15).
func (c *Client) Keys(ctx context.Context) (*signature.KeyList, error) {
	return c.fetchKeys(ctx, c.config.User, request{verb: "KEY"})
}

// KeysOf returns the verified list of another user's keys. It is empty if the
// user does not exist, or accepts no messages from this one.
func (c *Client) KeysOf(ctx context.Context, user protocol.Address) (*signature.KeyList, error) {
	return c.fetchKeysOf(ctx, user, false)
}

// FreshKeysOf is KeysOf, with every change that was acknowledged before.
func (c *Client) FreshKeysOf(ctx context.Context, user protocol.Address) (*signature.KeyList, error) {
	return c.fetchKeysOf(ctx, user, true)
}

// fetchKeysOf is KeysOf. If fresh is set, the list holds every change that was
// acknowledged before, whatever node answers.
func (c *Client) fetchKeysOf(ctx context.Context, user protocol.Address, fresh bool) (*signature.KeyList, error) {
	return c.fetchKeys(ctx, user, request{verb: "KEYS", params: func(b []byte) []byte {
		b = protocol.AppendParam(b, "ima", user.String())
		if fresh {
			b = protocol.AppendParam(b, "fresh", "yes")
		}
		return b
	}})
}

func (c *Client) fetchKeys(ctx context.Context, user protocol.Address, r request) (*signature.KeyList, error) {
	r.maxPartial = signature.MaxKeys
	lines, final, err := c.roundTrip(ctx, r)
	if err != nil {
		return nil, supportError(err)
	}
	keys := make([]signature.Key, 0, len(lines))
	for i := range lines {
		if k, ok := outbound.ParseKey(&lines[i].Line); ok { // what is left out contradicts the head
			keys = append(keys, k)
		}
	}
	head, err := signature.ParseHead(outbound.TextParam(&final.Line, "head"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKeyList, err)
	}
	list, err := signature.NewKeyList(canonical(user).String(), keys, head)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKeyList, err)
	}
	return list, nil
}

// AddKey adds a device's public key to the user's list, under a name for
// people. by, if not nil, is the private key of another device, which vouches
// for the new one. It returns the index of the change. The connection must not
// use an app password.
func (c *Client) AddKey(ctx context.Context, key ed25519.PublicKey, name string, by ed25519.PrivateKey) (uint64, error) {
	_, final, err := c.roundTrip(ctx, request{verb: "KEY", params: func(b []byte) []byte {
		b = protocol.AppendParam(b, "add", base64.StdEncoding.EncodeToString(key))
		if name != "" {
			b = protocol.AppendParam(b, "name", name)
		}
		if by != nil {
			proof := signature.ProveContinuity(by, c.CanonicalUser().String(), key, name)
			b = protocol.AppendParam(b, "by", signature.KeyID(by.Public().(ed25519.PublicKey)))
			b = protocol.AppendParam(b, "sig", base64.StdEncoding.EncodeToString(proof))
		}
		return b
	}})
	return outbound.UintParam(&final.Line, "index"), supportError(err)
}

// RevokeKey revokes a key of the user's list, and returns the index of the
// change.
func (c *Client) RevokeKey(ctx context.Context, id string) (uint64, error) {
	_, final, err := c.roundTrip(ctx, request{verb: "KEY", params: func(b []byte) []byte {
		return protocol.AppendParam(b, "revoke", id)
	}})
	return outbound.UintParam(&final.Line, "index"), supportError(err)
}

// Sign returns a message with a signature by a device's key, and with an ID if
// it had none. Its recipients and its ID must not be changed afterwards, nor
// its sending be delayed by minutes.
func (c *Client) Sign(key ed25519.PrivateKey, m Message) (Message, error) {
	if m.ID == "" {
		m.ID = rand.Text()
	}
	claims := signature.Claims{From: c.CanonicalUser().String(), ID: m.ID, Time: time.Now()}
	for _, to := range m.To {
		claims.To = append(claims.To, canonical(to).String())
	}
	signed, err := signature.Sign(key, claims, m.Entity)
	m.Entity = signed
	return m, err
}

// sameUser reports whether two addresses are those of one user.
func sameUser(a, b string) bool {
	first, err := protocol.ParseAddress(a)
	if err != nil {
		return false
	}
	second, err := protocol.ParseAddress(b)
	return err == nil && canonical(first) == canonical(second)
}
