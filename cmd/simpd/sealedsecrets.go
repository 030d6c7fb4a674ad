package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"simpd/cluster/acmecert"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// sealedSecrets keeps secrets that all nodes share in the table, encrypted by
// the site's first gossip key (acmecert.Secrets).
type sealedSecrets struct{ node *node }

// proposeTimeout limits the wait for the site to agree on a secret.
const proposeTimeout = 30 * time.Second

// Get returns a secret; nil if there is none, or if none of this node's gossip
// keys opens it.
func (s *sealedSecrets) Get(name string) []byte {
	v := s.node.table.SealedValue(name)
	if v == nil {
		return nil
	}
	value, _, err := acmecert.Open(s.node.currentGossipKeys(), name, v.Octets)
	if err != nil {
		s.node.logger.Warn("shared secret not readable", "name", name, "error", err)
		return nil
	}
	return value
}

// Put replaces a secret and returns once every node that is up has it.
func (s *sealedSecrets) Put(ctx context.Context, name string, value []byte, until time.Time) error {
	keys := s.node.currentGossipKeys()
	if len(keys) == 0 {
		return errors.New("this node has no gossip key")
	}
	sealed, err := acmecert.Seal(keys[0], name, value)
	if err != nil {
		return err
	}
	return s.propose(ctx, &storev1.Change{Kind: &storev1.Change_PutSealedValue{PutSealedValue: &storev1.PutSealedValue{
		Value: &storev1.SealedValue{Name: name, Sealed: sealed, UntilMs: until.UnixMilli()},
	}}})
}

// Remove removes a secret, if there is one.
func (s *sealedSecrets) Remove(ctx context.Context, name string) error {
	return s.propose(ctx, &storev1.Change{Kind: &storev1.Change_RemoveSealedValue{RemoveSealedValue: &storev1.RemoveSealedValue{Name: name}}})
}

// Refresh encrypts anew what another gossip key than the first has encrypted,
// so that the other key can go.
func (s *sealedSecrets) Refresh(ctx context.Context) {
	for _, v := range s.node.table.View().SealedValues() {
		value, isFirst, err := acmecert.Open(s.node.currentGossipKeys(), v.Name, v.Octets)
		if err != nil || isFirst {
			continue
		}
		if err := s.Put(ctx, v.Name, value, v.Until); err != nil {
			s.node.logger.Warn("shared secret not encrypted anew", "name", v.Name, "error", err)
			return
		}
	}
}

func (s *sealedSecrets) propose(ctx context.Context, c *storev1.Change) error {
	if !s.node.table.HasSealedValues() { // an older node could not read the change
		return errors.New("the site is being upgraded; this works once all nodes are upgraded")
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	results, err := s.node.cluster.Propose(ctx, c)
	if err != nil {
		return err
	}
	if r := results[0]; r.Refusal != store.None {
		return fmt.Errorf("the table refused it: %v", r.Refusal)
	}
	return s.node.cluster.Applied(ctx, results[0].Index, nil)
}

// currentGossipKeys returns the gossip keys as they were last read.
func (n *node) currentGossipKeys() [][]byte {
	if keys := n.sealingKeys.Load(); keys != nil {
		return *keys
	}
	return n.gossipKeys
}
