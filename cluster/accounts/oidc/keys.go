package oidc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"simpd/cluster/accounts"
)

const (
	refreshInterval = 10 * time.Second // at least, between two fetches of the keys
	keysMaxAge      = 15 * time.Minute // after which they are fetched again
	keysTrustedAge  = 4 * keysMaxAge   // after which tokens wait for that
	staleKeysWait   = 2 * time.Second  // for which they do, from its beginning
)

// keySet holds the provider's keys (JWKS). Tokens that name a key that it does
// not have make it fetch the keys again, at most once in refreshInterval for
// all of them together, and on one node for the whole site. Any goroutine may
// use it.
type keySet struct {
	provider   *provider
	algorithms []jose.SignatureAlgorithm

	mu      sync.Mutex
	address string // of the keys; "": not known yet
	keys    []jose.JSONWebKey
	fetched time.Time     // when they were fetched last
	tried   time.Time     // when that was begun last
	err     error         // of the last attempt
	pending chan struct{} // closed at the end of the attempt in progress; nil: there is none
}

// errWrongSignature reports that no key of the provider made the signature.
var errWrongSignature = errors.New("the signature is not by a key of the provider")

// VerifySignature returns the payload of a token that the provider has signed.
// An error that wraps errWrongSignature is certain; after any other, nothing is
// known of the token.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	began := time.Now()
	signed, err := jose.ParseSignedCompact(token, k.algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errWrongSignature
	}
	keys, err := k.current(ctx)
	if err != nil {
		return nil, err
	}
	id := signed.Signatures[0].Header.KeyID
	payload, found := verifyWith(keys, id, signed)
	if !found {
		if keys, err = k.refresh(ctx); err != nil {
			return nil, err
		}
		if payload, found = verifyWith(keys, id, signed); !found {
			err = k.checkFetchedAfter(began)
		}
	}
	switch {
	case payload != nil:
		return payload, nil
	case err != nil:
		return nil, err
	}
	return nil, errWrongSignature
}

// checkFetchedAfter returns nil if the keys were fetched after t. Otherwise the
// error says when they may be fetched: until then, nothing is known of a key that
// is not among those of before.
func (k *keySet) checkFetchedAfter(t time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fetched.Before(t) {
		return &accounts.UnavailableError{Retry: refreshInterval - time.Since(k.tried), Err: errKeysTooOld}
	}
	return nil
}

var errKeysTooOld = errors.New("the token names a key that the provider did not have a moment ago")

// verifyWith returns the payload if one of the keys with that ID (all, if it is
// "") made the signature. found reports whether there is such a key.
func verifyWith(keys []jose.JSONWebKey, id string, signed *jose.JSONWebSignature) (payload []byte, found bool) {
	for i := range keys {
		if id != "" && keys[i].KeyID != id {
			continue
		}
		found = id != ""
		if payload, err := signed.Verify(&keys[i]); err == nil {
			return payload, true
		}
	}
	return nil, found
}

// current returns the keys, which it fetches if there are none. Old ones it
// fetches in the background: known keys do not wait for anybody, but where no token
// has come for long. The provider may have withdrawn some of them since then.
func (k *keySet) current(ctx context.Context) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	keys := k.keys
	age := time.Since(k.fetched)
	if keys != nil && age >= keysMaxAge {
		k.beginFetchLocked(ctx)
	}
	wait := staleKeysWait - time.Since(k.tried)
	k.mu.Unlock()
	switch {
	case keys == nil:
		return k.refresh(ctx)
	case age < keysTrustedAge || wait <= 0:
		return keys, nil
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if fetched, err := k.refresh(waiting); err == nil {
		return fetched, nil
	}
	return keys, nil // a provider that is down keeps nobody out
}

// refresh fetches the keys, unless that was tried a moment ago: then it returns
// what became of it.
func (k *keySet) refresh(ctx context.Context) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	k.beginFetchLocked(ctx)
	pending := k.pending
	k.mu.Unlock()
	if pending != nil {
		select {
		case <-pending:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return nil, k.err
	}
	return k.keys, nil
}

// beginFetchLocked begins to fetch the keys, unless that is in progress or was
// tried a moment ago.
func (k *keySet) beginFetchLocked(ctx context.Context) {
	if k.pending == nil && time.Since(k.tried) >= refreshInterval {
		k.pending, k.tried = make(chan struct{}), time.Now()
		go k.fetch(context.WithoutCancel(ctx), k.pending)
	}
}

// fetch fetches the keys once, from the node that fetches them for the site or
// from the provider, and closes done.
func (k *keySet) fetch(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	keys, fetched, err := k.fetchFromSite(ctx)
	if errors.Is(err, accounts.ErrNotShared) {
		keys, err = k.fetchFromProvider(ctx)
		fetched = time.Now()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	defer close(done)
	k.pending, k.err = nil, err
	k.tried = time.Now().Add(retryInterval - refreshInterval)
	if err == nil {
		k.adoptLocked(keys, fetched)
	}
}

// fetchTimeout limits the time of a fetch: two requests to the provider, and the
// way to the node that makes them.
const fetchTimeout = 2*requestTimeout + time.Second

// adoptLocked takes keys that were fetched at a time, by whichever node, unless
// the present ones are newer.
func (k *keySet) adoptLocked(keys []jose.JSONWebKey, fetched time.Time) {
	if k.keys == nil || fetched.After(k.fetched) {
		k.keys, k.fetched, k.err = keys, fetched, nil
	}
	if fetched.After(k.tried) {
		k.tried = fetched
	}
}

// fetchFromProvider fetches the keys.
func (k *keySet) fetchFromProvider(ctx context.Context) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	address := k.address
	k.mu.Unlock()
	var err error
	if address == "" {
		address, err = k.provider.keysURL(ctx)
	}
	var set jose.JSONWebKeySet
	if err == nil {
		err = k.provider.get(ctx, address, &set)
	}
	if err != nil {
		address = "" // it may have changed
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.address = address
	return signingKeys(set.Keys), err
}

// retryInterval is the time after a failed fetch in which none is tried.
const retryInterval = time.Second

// signingKeys returns the public keys that are for signatures.
func signingKeys(all []jose.JSONWebKey) []jose.JSONWebKey {
	keys := []jose.JSONWebKey{}
	for _, k := range all {
		if k.IsPublic() && k.Valid() && (k.Use == "" || k.Use == "sig") {
			keys = append(keys, k)
		}
	}
	return keys
}
