package store

import (
	"slices"
	"time"
	"unsafe"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/signature"
)

// keySchema is the first schema with devices' keys.
const keySchema = 4

// HasKeys reports whether the log may hold keys of devices.
func (t *Table) HasKeys() bool { return t.Schema() >= keySchema }

// Keys returns the public keys of the user's devices, in the order in which
// they were added. The list must not be changed.
func (a *Account) Keys() []signature.Key {
	if a.keys == nil {
		return nil
	}
	return a.keys.all
}

// KeyHead returns the head of the list of keys.
func (a *Account) KeyHead() signature.Head {
	if a.keys == nil {
		return signature.Head{}
	}
	return a.keys.head
}

// keyList is an account's list of keys. Its head is computed once, since it
// takes a hash for each record.
type keyList struct {
	all  []signature.Key
	head signature.Head
}

func (a *Account) setKeys(list []signature.Key) {
	a.keys = nil
	if len(list) == 0 {
		return
	}
	a.keys = &keyList{all: list}
	// addKey and keysFromProto keep the numbers in order, so that there is no error.
	if heads, err := signature.HeadsOf(a.Address.String(), list); err == nil {
		a.keys.head = heads[len(heads)-1]
	}
}

// countRecords returns the number of records in a list of keys.
func countRecords(keys []signature.Key) int {
	n := len(keys)
	for i := range keys {
		if keys[i].RevokedAs != 0 {
			n++
		}
	}
	return n
}

func countLive(keys []signature.Key) int { return 2*len(keys) - countRecords(keys) }

func findKey(keys []signature.Key, id string) int {
	return slices.IndexFunc(keys, func(k signature.Key) bool { return k.ID == id })
}

// addKey adds a device's key to an account's list.
func (t *Table) addKey(c *storev1.AddKey) Result {
	if t.current.schema < keySchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	if r := t.checkOwner(c.GetAddress()); r.Refusal != None {
		return r
	}
	old, _ := t.current.accounts.get(c.GetAddress())
	keys := old.Keys()
	if err := signature.CheckKey(c.GetKey()); err != nil {
		return refuse(Malformed, "%v", err)
	}
	added := signature.Key{
		ID: signature.KeyID(c.GetKey()), Key: c.GetKey(), Name: c.GetName(), Created: t.batchTime,
		AddedAs: countRecords(keys) + 1, By: c.GetBy(), Proof: c.GetProof(), Index: t.nextIndex(),
	}
	if r := t.checkNewKey(c, old, &added); r.Refusal != None {
		return r
	}
	return t.replaceKeys(old, append(slices.Clone(keys), added))
}

// checkNewKey checks whether a key may be added to the account's list.
func (t *Table) checkNewKey(c *storev1.AddKey, account *Account, added *signature.Key) Result {
	keys := account.Keys()
	switch {
	case len(added.Name) > protocol.MaxNote || (added.By == "") != (len(added.Proof) == 0):
		return refuse(Malformed, "the name is too long, or the proof of continuity is not complete")
	case c.GetIfCredential() != 0 && account.Generation() != c.GetIfCredential():
		return refuse(Stale, "%s", account.generationReason())
	case findKey(keys, added.ID) >= 0:
		return refuse(KeyExists, "the key %s is in the list already", added.ID)
	case countLive(keys) >= signature.MaxLiveKeys:
		return refuse(TooManyKeys, "%s has %d keys that are not revoked", account.Address, countLive(keys))
	case len(keys) >= signature.MaxKeys:
		return refuse(TooManyKeys, "%s has had %d keys", account.Address, len(keys))
	case added.By == "":
		return Result{}
	}
	by := findKey(keys, added.By)
	if by < 0 || keys[by].RevokedAs != 0 ||
		!signature.VerifyContinuity(keys[by].Key, account.Address.String(), added.Key, added.Name, added.Proof) {
		return refuse(BadProof, "the proof of continuity by %q is invalid", added.By)
	}
	return Result{}
}

// revokeKey revokes a device's key; one that is revoked already changes
// nothing.
func (t *Table) revokeKey(c *storev1.RevokeKey) Result {
	old, ok := t.current.accounts.get(c.GetAddress())
	if !ok {
		return refuse(NoAccount, "there is no account %s", c.GetAddress())
	}
	if !c.GetByOperator() {
		if r := t.checkOwner(c.GetAddress()); r.Refusal != None {
			return r
		}
		if c.GetIfCredential() != 0 && old.Generation() != c.GetIfCredential() {
			return refuse(Stale, "%s", old.generationReason())
		}
	}
	keys := slices.Clone(old.Keys())
	i := findKey(keys, c.GetKeyId())
	switch {
	case i < 0:
		return refuse(NoKey, "%s has no key %s", c.GetAddress(), c.GetKeyId())
	case keys[i].RevokedAs != 0:
		return Result{}
	}
	k := &keys[i]
	k.Revoked, k.RevokedAs = revocationTime(k, t.batchTime), countRecords(keys)+1
	if c.GetByOperator() {
		k.RevokedBy = signature.ByOperator
	}
	return t.replaceKeys(old, keys)
}

// revocationTime returns when a key was revoked: not before it was added,
// whatever the clocks of the nodes say.
func revocationTime(k *signature.Key, now time.Time) time.Time {
	if now.Before(k.Created) {
		return k.Created
	}
	return now
}

// replaceKeys stores and commits an account's new list.
func (t *Table) replaceKeys(old *Account, list []signature.Key) Result {
	a := *old
	a.setKeys(list)
	t.current.accounts.set(a.Address.String(), &a)
	return t.commitList(EventKeys, a.Address.String(), len(old.Keys())*int(unsafe.Sizeof(signature.Key{})))
}

// KeyRecords returns the keys as snapshots and backups hold them.
func (a *Account) KeyRecords() []*storev1.Key {
	var records []*storev1.Key
	for i := range a.Keys() {
		k := &a.Keys()[i]
		r := &storev1.Key{
			Key: k.Key, Name: k.Name, CreatedMs: k.Created.UnixMilli(), AddedAs: uint32(k.AddedAs), By: k.By, Proof: k.Proof, Index: k.Index,
		}
		if k.RevokedAs != 0 {
			r.RevokedMs, r.RevokedAs, r.RevokedByOperator = k.Revoked.UnixMilli(), uint32(k.RevokedAs), k.RevokedBy == signature.ByOperator
		}
		records = append(records, r)
	}
	return records
}

// keysFromProto reads the keys of an account in a snapshot or a backup. It
// does not verify proofs: the table did when they were added.
func keysFromProto(user string, records []*storev1.Key) (list []signature.Key, ok bool) {
	if len(records) > signature.MaxKeys {
		return nil, false
	}
	for _, r := range records {
		if signature.CheckKey(r.GetKey()) != nil || len(r.GetName()) > protocol.MaxNote || len(list) > 0 && int(r.GetAddedAs()) <= list[len(list)-1].AddedAs {
			return nil, false
		}
		k := signature.Key{
			ID: signature.KeyID(r.GetKey()), Key: r.GetKey(), Name: r.GetName(), Created: fromMilli(r.GetCreatedMs()),
			AddedAs: int(r.GetAddedAs()), By: r.GetBy(), Proof: r.GetProof(), Index: r.GetIndex(),
		}
		if r.GetRevokedAs() != 0 {
			k.Revoked, k.RevokedAs = fromMilli(r.GetRevokedMs()), int(r.GetRevokedAs())
			if r.GetRevokedByOperator() {
				k.RevokedBy = signature.ByOperator
			}
		}
		if findKey(list, k.ID) >= 0 {
			return nil, false
		}
		list = append(list, k)
	}
	_, err := signature.HeadsOf(user, list)
	return list, err == nil && countLive(list) <= signature.MaxLiveKeys
}

// restoreKeys gives the keys of a backup the index of the restoration. Their
// records, and so the list's head, stay as they are.
func (a *Account) restoreKeys(index uint64) {
	list := a.Keys()
	for i := range list { // nobody else has the list yet
		list[i].Index = index
	}
}

// addKeys hashes an account's keys. An account without any, as before schema
// 4, keeps its old hash.
func (d *digester) addKeys(a *Account) {
	for _, k := range a.Keys() {
		d.addString(string(k.Key))
		d.addString(k.Name)
		d.addString(k.By)
		d.addString(string(k.Proof))
		d.addString(k.RevokedBy)
		revoked := int64(0)
		if k.RevokedAs != 0 {
			revoked = k.Revoked.UnixMilli()
		}
		d.addNumbers(uint64(k.Created.UnixMilli()), uint64(k.AddedAs), k.Index, uint64(revoked), uint64(k.RevokedAs))
	}
}
