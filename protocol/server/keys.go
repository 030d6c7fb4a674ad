package server

import (
	"context"
	"encoding/base64"
	"slices"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
	"simpd/protocol/signature"
)

// handleKey lists the public keys of the user's devices, or adds or revokes
// one (SIMP.md, section 15).
func (s *session) handleKey(ctx context.Context, r *request) error {
	key, add := r.line.Get("add")
	id, revoke := r.line.Get("revoke")
	switch {
	case add && revoke:
		return protocol.Errorf(protocol.StatusBadRequest, "add and revoke exclude each other")
	case !add && !revoke:
		return s.listOwnKeys(r)
	case s.client.UsesAppPassword:
		return protocol.Errorf(protocol.StatusForbidden, "this session uses an app password: log in with the account's own password to change keys")
	case add:
		return s.addKey(ctx, r, key)
	}
	return s.revokeKey(ctx, r, id)
}

func (s *session) listOwnKeys(r *request) error {
	if err := s.chargeWatches(r, &protocol.WatchRequest{Addresses: []protocol.Address{s.client.User}}); err != nil {
		return err
	}
	keys, head := s.user.Keys()
	return s.respondKeys(r, s.client.User, keys, head)
}

func (s *session) addKey(ctx context.Context, r *request, encoded string) error {
	k, err := decodeNewKey(r, encoded)
	if err != nil {
		return err
	}
	if _, err := s.awaitChange(ctx, listChange); err != nil {
		return err
	}
	index, err := s.user.AddKey(ctx, k)
	if err != nil {
		return err
	}
	b := protocol.AppendParam(response(r, protocol.StatusOK), "kid", k.ID)
	s.respond(r, protocol.AppendInt(b, "index", index))
	return nil
}

// decodeNewKey decodes the key of a KEY add, and the proof of continuity.
func decodeNewKey(r *request, encoded string) (k signature.Key, err error) {
	if k.Key, err = base64.StdEncoding.Strict().DecodeString(encoded); err != nil {
		return k, protocol.Errorf(protocol.StatusBadRequest, "add is not valid base64")
	}
	if err := signature.CheckKey(k.Key); err != nil {
		return k, protocol.Errorf(protocol.StatusBadRequest, "%v", err)
	}
	k.ID = signature.KeyID(k.Key)
	name, err := noteParam(r, "name")
	if err != nil {
		return k, err
	}
	if name != nil {
		k.Name = *name
	}
	by, hasBy := r.line.Get("by")
	proof, hasProof := r.line.Get("sig")
	switch {
	case hasBy != hasProof:
		return k, protocol.Errorf(protocol.StatusBadRequest, "by and sig belong together: the key that proves continuity, and its signature")
	case hasBy:
		k.By = by
		k.Proof, err = base64.StdEncoding.Strict().DecodeString(proof)
		if err != nil || by == "" || len(k.Proof) == 0 {
			return k, protocol.Errorf(protocol.StatusBadRequest, "by is not the name of a key, or sig is not valid base64")
		}
	}
	return k, nil
}

func (s *session) revokeKey(ctx context.Context, r *request, id string) error {
	if _, err := s.awaitChange(ctx, listChange); err != nil {
		return err
	}
	index, err := s.user.RevokeKey(ctx, id)
	if err != nil {
		return err
	}
	s.respond(r, protocol.AppendInt(response(r, protocol.StatusOK), "index", index))
	return nil
}

// handleKeys lists the public keys of another user's devices (SIMP.md, section
// 15). Other sites are asked apart from what follows.
func (s *session) handleKeys(ctx context.Context, r *request) error {
	w, err := s.decodeWatch(r)
	if err != nil {
		return err
	}
	if len(w.Addresses) != 1 || len(w.By) > 1 {
		return protocol.Errorf(protocol.StatusBadRequest, "KEYS asks for one user: KEYS ima=IMA")
	}
	if err := s.chargeWatches(r, &w); err != nil {
		return err
	}
	q := protocol.KeysRequest{By: s.client.User, Of: w.Addresses[0], Fresh: w.Fresh}
	if len(w.By) > 0 {
		q.By = w.By[0]
	}
	user := s.user
	return s.answerAside(ctx, r, func(ctx context.Context, r *request) error { return s.answerKeys(ctx, user, q, r) })
}

func (s *session) answerKeys(ctx context.Context, user User, q protocol.KeysRequest, r *request) error {
	keys, head, err := user.KeysOf(ctx, q)
	if err != nil {
		return err
	}
	return s.respondKeys(r, q.By, keys, head)
}

// respondKeys ends r with a list of keys, and counts each key as a watched
// address: nobody knew how many there are when it was asked.
func (s *session) respondKeys(r *request, by protocol.Address, keys []signature.Key, head signature.Head) error {
	s.user.SpendWatches([]protocol.Address{by}, len(keys)) // later requests wait for them
	if !s.inflight.extend(r, len(keys)*keyLineOctets) {
		return errTooMuchUnanswered
	}
	s.respond(r, keyLines(r, keys, head))
	return nil
}

// keyLineOctets estimates the octets of one key in a response.
const keyLineOctets = 320

// keyLines returns the response to r, but for its end: a list of keys.
func keyLines(r *request, keys []signature.Key, head signature.Head) []byte {
	b := make([]byte, 0, 64+keyLineOctets*len(keys))
	for i := range keys {
		b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusPartial)
		b = protocol.AppendEnd(appendKey(b, &keys[i]))
	}
	b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusOK)
	return protocol.AppendParam(b, "head", head.String())
}

// appendKey appends a key with all that its head covers.
func appendKey(b []byte, k *signature.Key) []byte {
	b = protocol.AppendParam(b, "kid", k.ID)
	b = protocol.AppendParam(b, "key", base64.StdEncoding.EncodeToString(k.Key))
	b = protocol.AppendTime(b, "created", k.Created)
	if k.Name != "" {
		b = protocol.AppendParam(b, "name", k.Name)
	}
	switch {
	case k.RevokedBy != "":
		b = protocol.AppendParam(b, "by", k.RevokedBy)
	case k.By != "":
		b = protocol.AppendParam(b, "by", k.By)
	}
	if k.By != "" {
		b = protocol.AppendParam(b, "signer", k.By)
		b = protocol.AppendParam(b, "sig", base64.StdEncoding.EncodeToString(k.Proof))
	}
	b = protocol.AppendInt(b, "record", uint64(k.AddedAs))
	if k.RevokedAs != 0 {
		b = protocol.AppendTime(b, "revoked", k.Revoked)
		b = protocol.AppendInt(b, "revocation", uint64(k.RevokedAs))
	}
	return protocol.AppendInt(b, "index", k.Index)
}

// NotifyKeys sends a change of a list of keys, except to clients of SIMP/1.0,
// which does not have it.
func (s *session) NotifyKeys(n *protocol.KeyNotice) {
	if s.minor >= 1 {
		s.conn.SendUpdate(&renderedKeyNotice{n, appendKeyNotice(n)})
	}
}

func appendKeyNotice(n *protocol.KeyNotice) []byte {
	b := protocol.AppendRequest(make([]byte, 0, 160), "*", "KEYS")
	b = protocol.AppendParam(b, "ima", n.Address.String())
	b = protocol.AppendParam(b, "head", n.Head)
	b = protocol.AppendInt(b, "index", n.Index)
	for _, by := range n.By {
		b = protocol.AppendParam(b, "by", by.String())
	}
	return protocol.AppendEnd(b)
}

// renderedKeyNotice is a change of a list of keys with its encoded line. A
// newer one may replace it while it is queued.
type renderedKeyNotice struct {
	*protocol.KeyNotice
	line []byte
}

// keySubject is the subject of a renderedKeyNotice: it is not that of the
// user's presence.
type keySubject struct{ protocol.Address }

var _ netio.Update = (*renderedKeyNotice)(nil)

func (n *renderedKeyNotice) Size() int                { return netio.FrameCost + cap(n.line) }
func (n *renderedKeyNotice) Begin(time.Time) bool     { return true }
func (n *renderedKeyNotice) AppendTo(b []byte) []byte { return append(b, n.line...) }
func (n *renderedKeyNotice) Requeue()                 {}
func (n *renderedKeyNotice) IsDropped() bool          { return false }
func (n *renderedKeyNotice) Line() []byte             { return n.line }
func (n *renderedKeyNotice) Subject() any             { return keySubject{n.Address} }

// Replaces reports whether old is for the same watchers.
func (n *renderedKeyNotice) Replaces(old netio.Update) bool {
	return slices.Equal(n.By, old.(*renderedKeyNotice).By)
}

// IsSameChange reports whether other tells other watchers of the same change.
func (n *renderedKeyNotice) IsSameChange(other netio.Update) bool {
	return n.Index == other.(*renderedKeyNotice).Index
}
