package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"simpd/cluster/accounts"
)

var _ accounts.KeySharer = (*Source)(nil)

// ShareKeys returns the keys for another node of the site, which this one has
// fetched, or fetches now, for all. It takes over those that the other one has if
// they are newer: it may have them from another node.
func (s *Source) ShareKeys(ctx context.Context, known accounts.SharedKeys) (accounts.SharedKeys, error) {
	came := time.Now()
	if known.Issuer != s.config.Issuer {
		return accounts.SharedKeys{}, accounts.ErrNotShared
	}
	if known.Keys != nil {
		keys, err := parseKeys(known.Keys)
		if err != nil {
			return accounts.SharedKeys{}, err
		}
		s.keys.mu.Lock()
		s.keys.adoptLocked(keys, came.Add(-max(known.Age, 0)))
		s.keys.mu.Unlock()
	}
	if _, err := s.keys.refresh(ctx); err != nil {
		return accounts.SharedKeys{}, err
	}
	return s.keys.share(came), nil
}

// share returns the keys as they are sent to another node, with their age at a
// time: keys that were fetched later have none.
func (k *keySet) share(at time.Time) accounts.SharedKeys {
	k.mu.Lock()
	defer k.mu.Unlock()
	shared := accounts.SharedKeys{Issuer: k.provider.config.Issuer}
	if k.keys != nil {
		shared.Keys, _ = json.Marshal(jose.JSONWebKeySet{Keys: k.keys}) // they were read from JSON
		shared.Age = max(at.Sub(k.fetched), 0)
	}
	return shared
}

// fetchFromSite returns the keys that the node has that fetches them for the
// site, and when it has fetched them; ErrNotShared if this node has to.
func (k *keySet) fetchFromSite(ctx context.Context) ([]jose.JSONWebKey, time.Time, error) {
	ask := k.provider.config.AskSite
	if ask == nil {
		return nil, time.Time{}, accounts.ErrNotShared
	}
	asked := time.Now()
	shared, err := ask(ctx, k.provider.config.Name, k.share(asked))
	if err != nil {
		return nil, time.Time{}, err
	}
	keys, err := parseKeys(shared.Keys)
	return keys, asked.Add(-shared.Age), err
}

// parseKeys reads the keys that another node has sent.
func parseKeys(b []byte) ([]jose.JSONWebKey, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("another node has sent keys that can't be read: %w", err)
	}
	return signingKeys(set.Keys), nil
}
