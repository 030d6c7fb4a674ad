package main

import (
	"context"
	"errors"
	"time"

	"simpd/cluster"
	"simpd/cluster/accounts"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// askKeys asks the node that fetches keys for the site for those of a source's
// provider (oidc.Config.AskSite).
type askKeys = func(ctx context.Context, source string, known accounts.SharedKeys) (accounts.SharedKeys, error)

// askSiteForKeys asks the leader for the keys of a source's provider.
func (n *node) askSiteForKeys(ctx context.Context, source string, known accounts.SharedKeys) (accounts.SharedKeys, error) {
	keys, isLeader, err := n.cluster.SourceKeys(ctx, &clusterv1.SourceKeysRequest{Source: source, Known: keysProto(known)})
	if isLeader || errors.Is(err, cluster.ErrRefused) {
		return accounts.SharedKeys{}, accounts.ErrNotShared
	}
	return keysFromProto(keys), err
}

// sourceKeys returns the keys of a source's provider to another node.
func (n *node) sourceKeys(ctx context.Context, r *clusterv1.SourceKeysRequest) (*clusterv1.ProviderKeys, error) {
	keys, err := n.sources.ShareKeys(ctx, r.Source, keysFromProto(r.Known))
	if errors.Is(err, accounts.ErrNotShared) {
		err = cluster.ErrRefused
	}
	return keysProto(keys), err
}

// keysProto rounds the age up, because keys must not seem newer than they are.
func keysProto(k accounts.SharedKeys) *clusterv1.ProviderKeys {
	return &clusterv1.ProviderKeys{Issuer: k.Issuer, Keys: k.Keys, AgeMs: uint64((k.Age + time.Millisecond - 1) / time.Millisecond)}
}

// maxKeysAge limits the age of keys that another node names.
const maxKeysAge = 365 * 24 * time.Hour

func keysFromProto(k *clusterv1.ProviderKeys) accounts.SharedKeys {
	age := time.Duration(min(k.GetAgeMs(), uint64(maxKeysAge/time.Millisecond))) * time.Millisecond
	shared := accounts.SharedKeys{Issuer: k.GetIssuer(), Age: age}
	if len(k.GetKeys()) > 0 {
		shared.Keys = k.GetKeys()
	}
	return shared
}
