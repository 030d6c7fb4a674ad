package router

import (
	"context"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/signature"
	"simpd/store"
)

// Keys returns the public keys of the user's devices as this node knows them,
// and the head of the list.
func (u *Connection) Keys() ([]signature.Key, signature.Head) { return u.r.keysOf(u.client.User) }

// keysOf returns the list of a local user; that of an unknown one is empty.
func (r *Router) keysOf(user protocol.Address) ([]signature.Key, signature.Head) {
	account, known := r.config.Table.Account(user)
	if !known {
		return nil, signature.Head{}
	}
	return account.Keys(), account.KeyHead()
}

// KeysOf returns the keys of another user's devices, if q.By may send messages
// to them. Otherwise, and if the user does not exist, the list is empty. It
// waits for the user's site, if that is another.
func (u *Connection) KeysOf(ctx context.Context, q protocol.KeysRequest) ([]signature.Key, signature.Head, error) {
	r := u.r
	if r.isRemotePair(pair{by: q.By, of: q.Of}) {
		keys, head, err := r.config.Relay.Keys(ctx, q)
		if err == nil && u.blocks(q.By) {
			return nil, signature.Head{}, nil
		}
		return keys, head, err
	}
	if q.Fresh {
		if err := r.directory.ReadBarrier(ctx); err != nil {
			return nil, signature.Head{}, protocol.Errorf(protocol.StatusUnavailable, noQuorumText)
		}
	}
	if !r.Local(q.Of) || q.By != q.Of && !u.maySend(q.Of, q.By) {
		return nil, signature.Head{}, nil
	}
	keys, head := r.keysOf(q.Of)
	return keys, head, nil
}

// AddKey adds a device's key to the user's list, and returns the index of the
// change.
func (u *Connection) AddKey(ctx context.Context, k signature.Key) (uint64, error) {
	if !u.r.config.Table.HasKeys() { // an older node could not read the change
		return 0, protocol.Errorf(protocol.StatusUnavailable, "the site is being upgraded; keys can be added once all nodes are upgraded")
	}
	if err := u.checkContinuity(k); err != nil {
		return 0, err
	}
	res, err := u.r.proposeChange(ctx, &storev1.Change{Kind: &storev1.Change_AddKey{AddKey: &storev1.AddKey{
		Address: u.client.User.String(), Key: k.Key, Name: k.Name, By: k.By, Proof: k.Proof, IfCredential: u.currentCredential(),
	}}})
	if err != nil {
		return 0, err
	}
	u.r.awaitEverywhere(ctx, res.Index) // so that recipients at every node know the key at once
	return res.Index, nil
}

// checkContinuity returns an error if the proof of continuity is wrong, so that
// it does not get into the log. A key that this node does not know may be new:
// the table decides.
func (u *Connection) checkContinuity(k signature.Key) error {
	keys, _ := u.Keys()
	for i := range keys {
		if keys[i].ID == k.By && !signature.VerifyContinuity(keys[i].Key, u.client.User.String(), k.Key, k.Name, k.Proof) {
			return protocol.Errorf(protocol.StatusBadRequest, "the proof of continuity by %s is invalid", protocol.Quote(k.By))
		}
	}
	return nil
}

// RevokeKey revokes a key of the user's list, and returns the index of the
// change. Revoking it again changes nothing.
func (u *Connection) RevokeKey(ctx context.Context, id string) (uint64, error) {
	if !u.r.config.Table.HasKeys() { // an older node could not read the change
		return 0, protocol.Errorf(protocol.StatusUnknownAddress, "there is no key %s", protocol.Quote(id))
	}
	res, err := u.r.proposeChange(ctx, &storev1.Change{Kind: &storev1.Change_RevokeKey{RevokeKey: &storev1.RevokeKey{
		Address: u.client.User.String(), KeyId: id, IfCredential: u.currentCredential(),
	}}})
	if err != nil {
		return 0, err
	}
	u.r.awaitEverywhere(ctx, res.Index)
	return res.Index, nil
}

// notifyKeys tells the user's own connections, and all who watch the user and
// may send messages to them, that a list of keys has changed.
func (r *Router) notifyKeys(e *store.Event) {
	_, head := r.keysOf(e.Address)
	n := &protocol.KeyNotice{Address: e.Address, Head: head.String(), Index: e.Index}
	own := r.users.ofUser(e.Address)
	for _, u := range own {
		u.session.NotifyKeys(n)
	}
	r.hub.notifyKeys(n)
}

// notifyKeys tells the watchers of a user that their list of keys has changed;
// those on routing connections in lines that name them. The user's own
// connections know it already. Watchers who may send messages to the user can
// ask for the list, so they are told, even if they may not see the presence:
// else they could tell that they may not.
func (h *hub) notifyKeys(n *protocol.KeyNotice) {
	messages := h.r.aclOf(n.Address, store.ActionMessage)
	remote := map[*Connection][]protocol.Address{}
	h.mu.Lock()
	defer h.mu.Unlock()
	turns := 0
	for i := len(h.watchers[n.Address]) - 1; i >= 0; i-- {
		// As in watchersOf: none that stays is passed over.
		if i = min(i, len(h.watchers[n.Address])-1); i < 0 {
			break
		}
		w := h.watchers[n.Address][i]
		if w.by != n.Address && messages.allowsViewer(w.viewer()) {
			if w.session == nil {
				remote[w.u] = append(remote[w.u], w.by)
			} else {
				w.session.NotifyKeys(n)
			}
		}
		turns = h.yieldLocked(turns)
	}
	for u, by := range remote {
		for len(by) > 0 {
			some := splitToFit(by)
			u.session.NotifyKeys(&protocol.KeyNotice{Address: n.Address, Head: n.Head, Index: n.Index, By: some})
			by = by[len(some):]
		}
	}
}

// onRemoteKeys tells the watchers of a remote user that their list of keys has
// changed, as their site reported: at once, or when the limit on what a remote
// site may report allows it.
func (h *hub) onRemoteKeys(by, of protocol.Address, n protocol.KeyNotice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.remote[pair{by: by, of: of}]
	if f == nil {
		return // nobody watches any more
	}
	n.Address, n.By = of, nil
	isDue := f.keys != nil
	if f.keys = &n; !isDue {
		h.showRemoteKeysLocked(f)
	}
}

// showRemoteKeysLocked shows f.keys to the watchers, now or when the limiter
// allows it.
func (h *hub) showRemoteKeysLocked(f *remoteWatch) {
	now := time.Since(h.began)
	if wait := f.keyLimiter.Wait(remoteChanges, 1, now); wait > 0 {
		time.AfterFunc(wait, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.showRemoteKeysLocked(f)
		})
		return
	}
	f.keyLimiter.Spend(remoteChanges, 1, now)
	for w := range f.watches {
		if !w.blocked {
			w.session.NotifyKeys(f.keys)
		}
	}
	f.keys = nil
}
