package main

import (
	"context"
	"crypto/rand"
	"fmt"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// makeUsers gives users that password, and makes those that are not there. An
// account keeps its salt, and so its app passwords, and does not change if it
// has that password.
func (n *node) makeUsers(ctx context.Context, users []string, password string) error {
	var changes []*storev1.Change
	for _, user := range users {
		salt, iterations := n.saltOf(user)
		c, err := protocol.NewCredentials(password, salt, iterations)
		if err != nil {
			return err
		}
		changes = append(changes, &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
			Address: user, Mode: storev1.PutAccount_MODE_UPSERT,
			Verifier: &storev1.Verifier{Salt: c.Salt, Iterations: uint32(c.Iterations), StoredKey: c.StoredKey, ServerKey: c.ServerKey},
		}}})
	}
	results, err := n.cluster.Propose(ctx, changes...)
	if err != nil {
		return err
	}
	var last uint64
	for i, r := range results {
		if r.Refusal != store.None {
			return fmt.Errorf("making %s: %v", users[i], r.Refusal)
		}
		last = max(last, r.Index)
	}
	return n.cluster.Applied(ctx, last, nil)
}

// saltOf returns the salt and the iteration count of a user's password; new
// ones for a new user.
func (n *node) saltOf(user string) (salt []byte, iterations int) {
	if a, ok := n.table.Account(protocol.CanonicalAddress(user)); ok {
		return a.Verifier.Salt, int(a.Verifier.Iterations)
	}
	salt = make([]byte, protocol.ScramSaltOctets)
	rand.Read(salt)
	return salt, protocol.ScramIterations
}
