package api

import (
	"context"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// presenceService answers from the node's own table.
type presenceService struct {
	simpv1.UnimplementedPresenceServiceServer
	Config
	pages   *pages
	closing context.Context // ends as the server shuts down
}

// Get tells the presence of some users.
func (s *presenceService) Get(ctx context.Context, r *simpv1.GetRequest) (*simpv1.GetResponse, error) {
	f := &fields{domains: s.Domains}
	users := f.localUsers("ima", r.Ima, protocol.MaxWatched)
	if len(r.Ima) == 0 {
		f.addViolation("ima", "an address is required")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	v, err := s.tableView(ctx, r.Fresh)
	if err != nil {
		return nil, err
	}
	resp := &simpv1.GetResponse{Position: positionOf(v)}
	for _, a := range users {
		p := presenceMessage(a, v.Listener(a))
		if err := reserveAnswer(ctx, p); err != nil {
			return nil, err
		}
		resp.Presence = append(resp.Presence, p)
	}
	return resp, nil
}

// List tells who listens, page by page.
func (s *presenceService) List(ctx context.Context, r *simpv1.ListRequest) (*simpv1.ListResponse, error) {
	f := &fields{domains: s.Domains}
	size := f.pageSize(r.PageSize)
	domain := f.localDomain("domain", r.Domain)
	if _, ok := simpv1.State_name[int32(r.State)]; !ok || r.State == simpv1.State_STATE_DEAF || r.State == simpv1.State_STATE_UNKNOWN {
		f.addViolation("state", "is not one of listening users: available, away or busy")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	v, last, err := s.listPage(ctx, f, r)
	if err != nil {
		return nil, err
	}
	resp := &simpv1.ListResponse{Position: positionOf(v)}
	v.Listeners(last, func(l *store.Listener) bool {
		if l.Address == last || !matchesFilter(l, domain, r.Node, r.State) {
			return true
		}
		if len(resp.Presence) == size {
			resp.NextPageToken = s.pages.nextToken(v, resp.Presence[size-1].Ima, r)
			return false
		}
		p := presenceMessage(l.Address, l)
		err = reserveAnswer(ctx, p)
		resp.Presence = append(resp.Presence, p)
		return err == nil
	})
	return resp, err
}

func (s *presenceService) listPage(ctx context.Context, f *fields, r *simpv1.ListRequest) (store.View, protocol.Address, error) {
	if r.PageToken == "" {
		v, err := s.tableView(ctx, r.Fresh)
		return v, protocol.Address{}, err
	}
	if err := s.inTouch(false); err != nil {
		return store.View{}, protocol.Address{}, err
	}
	return s.pages.resumeToken(ctx, f, r.PageToken, r)
}

func matchesFilter(l *store.Listener, domain, node string, in simpv1.State) bool {
	return inDomain(l.Address, domain) && onNode(l, node) &&
		(in == simpv1.State_STATE_UNSPECIFIED || stateMessage(l.Presence().State) == in)
}
