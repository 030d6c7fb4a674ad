package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// How long an invitation can be used.
const (
	defaultInvitation = 7 * 24 * time.Hour
	minInvitation     = time.Minute
	maxInvitation     = 366 * 24 * time.Hour
)

// maxInviter is the number of octets of a caller's name that an invitation
// keeps.
const maxInviter = 200

// inviteService keeps the site's invitations.
type inviteService struct {
	simpv1.UnimplementedInviteServiceServer
	Config
	pages *pages
}

// Create makes an invitation.
func (s *inviteService) Create(ctx context.Context, r *simpv1.CreateInvitationRequest) (*simpv1.CreateInvitationResponse, error) {
	add, err := s.checkInvitation(r)
	setAuditTarget(ctx, fmt.Sprintf("an invitation for %s", r.Domain))
	if err != nil {
		return nil, err
	}
	setAuditTarget(ctx, fmt.Sprintf("an invitation for %s, %d uses", add.Domain, add.Uses))
	if err := s.inTouch(false); err != nil {
		return nil, err
	}
	if !s.Table.HasInvitations() { // an older node could not read the change
		return nil, unavailable(reasonUnavailable, "the site is being upgraded; invitations work once all nodes are upgraded")
	}
	random := make([]byte, protocol.AppPasswordOctets)
	rand.Read(random) // never fails
	code := protocol.NewInvitationCode(random)
	add.CodeHash, add.By = protocol.HashInvitationCode(code), inviterName(ctx)
	results, err := s.proposeChanges(ctx, &storev1.Change{Kind: &storev1.Change_AddInvitation{AddInvitation: add}})
	if err != nil {
		return nil, err
	}
	setAuditTarget(ctx, fmt.Sprintf("invitation %d for %s, %d uses", results[0].Invitation, add.Domain, add.Uses))
	s.awaitEverywhere(ctx, results[0].Index)
	resp := &simpv1.CreateInvitationResponse{
		Code: code, Position: &simpv1.Position{History: s.Table.History(), Index: results[0].Index},
		Invitation: &simpv1.Invitation{
			Id: results[0].Invitation, Domain: add.Domain, Uses: add.Uses, Created: timestamppb.Now(),
			Until: timestamppb.New(time.UnixMilli(add.UntilMs)), Contact: add.Contact, By: add.By,
		},
	}
	if s.WebAddress != "" {
		resp.Link = protocol.InvitationLink(s.WebAddress, code)
	}
	return resp, nil
}

// checkInvitation returns the change that a request asks for, without a code.
func (s *inviteService) checkInvitation(r *simpv1.CreateInvitationRequest) (*storev1.AddInvitation, error) {
	f := &fields{domains: s.Domains}
	add := &storev1.AddInvitation{Domain: f.localDomain("domain", r.Domain), Uses: max(r.Uses, 1)}
	if r.Domain == "" {
		add.Domain = s.Domains[0]
	}
	if add.Uses > protocol.MaxInvitationUses {
		f.addViolation("uses", "%d is not from 1 to %d", add.Uses, protocol.MaxInvitationUses)
	}
	life := f.durationWithin("expires", r.Expires, defaultInvitation, minInvitation, maxInvitation)
	add.UntilMs = time.Now().Add(life).UnixMilli()
	if r.Contact != "" {
		add.Contact = f.anyAddress("contact", r.Contact).String()
	}
	return add, f.err()
}

// inviterName returns the caller's name, as far as an invitation keeps it.
func inviterName(ctx context.Context) string {
	name := callerOf(ctx).name
	return strings.ToValidUTF8(name[:min(len(name), maxInviter)], "")
}

// List tells of the invitations that can be used, page by page.
func (s *inviteService) List(ctx context.Context, r *simpv1.ListInvitationsRequest) (*simpv1.ListInvitationsResponse, error) {
	f := &fields{domains: s.Domains}
	size := f.pageSize(r.PageSize)
	domain := f.localDomain("domain", r.Domain)
	if err := f.err(); err != nil {
		return nil, err
	}
	v, err := s.tableView(ctx, false)
	if err != nil {
		return nil, err
	}
	var last uint64
	if r.PageToken != "" {
		var text string
		if v, text, err = s.pages.resumeAfter(ctx, f, r.PageToken, r); err != nil {
			return nil, err
		}
		last, _ = strconv.ParseUint(text, 10, 64)
	}
	resp, now := &simpv1.ListInvitationsResponse{Position: positionOf(v)}, time.Now()
	for _, i := range v.Invitations() {
		if i.ID <= last || i.HasEnded(now) || domain != "" && i.Domain != domain {
			continue
		}
		if len(resp.Invitation) == size {
			resp.NextPageToken = s.pages.nextToken(v, strconv.FormatUint(resp.Invitation[size-1].Id, 10), r)
			break
		}
		found := invitationMessage(i)
		if err := reserveAnswer(ctx, found); err != nil {
			return nil, err
		}
		resp.Invitation = append(resp.Invitation, found)
	}
	return resp, nil
}

func invitationMessage(i *store.Invitation) *simpv1.Invitation {
	return &simpv1.Invitation{
		Id: i.ID, Domain: i.Domain, Uses: i.Uses, Used: i.Used, Created: timestamppb.New(i.Created), Until: timestamppb.New(i.Until),
		Contact: i.Contact.String(), By: i.By,
	}
}

// Remove revokes an invitation.
func (s *inviteService) Remove(ctx context.Context, r *simpv1.RemoveInvitationRequest) (*simpv1.RemoveInvitationResponse, error) {
	setAuditTarget(ctx, fmt.Sprintf("invitation %d", r.Id))
	if err := s.inTouch(false); err != nil {
		return nil, err
	}
	if !s.Table.HasInvitations() { // an older node could not read the change
		return nil, &refused{store.NoInvitation, fmt.Sprintf("there is no invitation %d", r.Id)}
	}
	at, err := s.proposeEverywhere(ctx, &storev1.Change{Kind: &storev1.Change_RemoveInvitation{
		RemoveInvitation: &storev1.RemoveInvitation{Id: r.Id},
	}})
	if err != nil {
		return nil, err
	}
	return &simpv1.RemoveInvitationResponse{Position: at}, nil
}
