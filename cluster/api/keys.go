package api

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol/signature"
	"simpd/store"
)

// ListKeys returns the public keys of a user's devices.
func (s *accountService) ListKeys(ctx context.Context, r *simpv1.ListKeysRequest) (*simpv1.ListKeysResponse, error) {
	v, a, err := s.findAccount(ctx, r.Ima)
	if err != nil {
		return nil, err
	}
	resp := &simpv1.ListKeysResponse{Position: positionOf(v), Head: a.KeyHead().String()}
	for i := range a.Keys() {
		resp.Key = append(resp.Key, keyMessage(&a.Keys()[i]))
	}
	return resp, nil
}

func keyMessage(k *signature.Key) *simpv1.Key {
	m := &simpv1.Key{Id: k.ID, Key: k.Key, Name: k.Name, Created: timestamppb.New(k.Created), Signer: k.By}
	if k.RevokedAs != 0 {
		m.Revoked, m.RevokedByOperator = timestamppb.New(k.Revoked), k.RevokedBy == signature.ByOperator
	}
	return m
}

// RevokeKey revokes a key of a user, as an operator.
func (s *accountService) RevokeKey(ctx context.Context, r *simpv1.RevokeKeyRequest) (*simpv1.RevokeKeyResponse, error) {
	user, err := s.parseUser(ctx, r.Ima)
	if err != nil {
		return nil, err
	}
	setAuditTarget(ctx, fmt.Sprintf("%s, key %.64s", user, r.Id))
	if !s.Table.HasKeys() { // an older node could not read the change
		if !s.hasAccount(user) {
			return nil, noSuchAccount(user)
		}
		return nil, &refused{store.NoKey, fmt.Sprintf("%s has no key %.64s", user, r.Id)}
	}
	at, err := s.proposeEverywhere(ctx, &storev1.Change{Kind: &storev1.Change_RevokeKey{
		RevokeKey: &storev1.RevokeKey{Address: user.String(), KeyId: r.Id, ByOperator: true},
	}})
	if err != nil {
		return nil, err
	}
	return &simpv1.RevokeKeyResponse{Position: at}, nil
}
