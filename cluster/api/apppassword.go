package api

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/store"
)

// ListAppPasswords returns a user's app passwords.
func (s *accountService) ListAppPasswords(ctx context.Context, r *simpv1.ListAppPasswordsRequest) (*simpv1.ListAppPasswordsResponse, error) {
	v, a, err := s.findAccount(ctx, r.Ima)
	if err != nil {
		return nil, err
	}
	resp := &simpv1.ListAppPasswordsResponse{Position: positionOf(v)}
	for i := range a.AppPasswords() {
		resp.AppPassword = append(resp.AppPassword, appPasswordMessage(&a.AppPasswords()[i]))
	}
	return resp, nil
}

func appPasswordMessage(p *store.AppPassword) *simpv1.AppPassword {
	m := &simpv1.AppPassword{Id: p.ID, Name: p.Name, Created: timestamppb.New(p.Created)}
	if p.UsedDay > 0 {
		m.Used = timestamppb.New(time.Unix(int64(p.UsedDay)*24*60*60, 0))
	}
	if !p.Until.IsZero() {
		m.Until = timestamppb.New(p.Until)
	}
	return m
}

// RemoveAppPassword removes an app password and closes its connections.
func (s *accountService) RemoveAppPassword(ctx context.Context, r *simpv1.RemoveAppPasswordRequest) (*simpv1.RemoveAppPasswordResponse, error) {
	user, err := s.parseUser(ctx, r.Ima)
	if err != nil {
		return nil, err
	}
	setAuditTarget(ctx, fmt.Sprintf("%s, app password %d", user, r.Id))
	if !s.Table.HasAppPasswords() { // an older node could not read the change
		if !s.hasAccount(user) {
			return nil, noSuchAccount(user)
		}
		return nil, &refused{store.NoAppPassword, fmt.Sprintf("%s has no app password %d", user, r.Id)}
	}
	at, err := s.proposeEverywhere(ctx, &storev1.Change{Kind: &storev1.Change_RemoveAppPassword{
		RemoveAppPassword: &storev1.RemoveAppPassword{Address: user.String(), Id: r.Id},
	}})
	if err != nil {
		return nil, err
	}
	return &simpv1.RemoveAppPasswordResponse{Position: at}, nil
}
