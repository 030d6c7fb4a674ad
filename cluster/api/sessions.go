package api

import (
	"context"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// ListSessions tells the listening sessions, page by page.
func (s *clusterService) ListSessions(ctx context.Context, r *simpv1.ListSessionsRequest) (*simpv1.ListSessionsResponse, error) {
	f := &fields{domains: s.Domains}
	size := f.pageSize(r.PageSize)
	if r.Ima != "" {
		user := f.localUser("ima", r.Ima)
		if err := f.err(); err != nil {
			return nil, err
		}
		return s.sessionsOf(ctx, user, r.Node)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	v, err := s.tableView(ctx, false)
	if err != nil {
		return nil, err
	}
	last := protocol.Address{}
	if r.PageToken != "" {
		if v, last, err = s.pages.resumeToken(ctx, f, r.PageToken, r); err != nil {
			return nil, err
		}
	}
	return s.sessionPage(ctx, v, last, size, r)
}

// sessionsOf tells one user's sessions: there are few.
func (s *clusterService) sessionsOf(ctx context.Context, user protocol.Address, node string) (*simpv1.ListSessionsResponse, error) {
	v, err := s.tableView(ctx, false)
	if err != nil {
		return nil, err
	}
	resp := &simpv1.ListSessionsResponse{Position: positionOf(v)}
	if l := v.Listener(user); l != nil {
		resp.Session = appendSessions(nil, l, node)
	}
	return resp, nil
}

func (s *clusterService) sessionPage(ctx context.Context, v store.View, last protocol.Address, size int, r *simpv1.ListSessionsRequest) (*simpv1.ListSessionsResponse, error) {
	resp := &simpv1.ListSessionsResponse{Position: positionOf(v)}
	var err error
	v.Listeners(last, func(l *store.Listener) bool {
		if l.Address == last || !onNode(l, r.Node) {
			return true
		}
		if len(resp.Session) >= size {
			resp.NextPageToken = s.pages.nextToken(v, resp.Session[len(resp.Session)-1].Ima, r)
			return false
		}
		before := len(resp.Session)
		resp.Session = appendSessions(resp.Session, l, r.Node)
		for _, found := range resp.Session[before:] {
			if err = reserveAnswer(ctx, found); err != nil {
				return false
			}
		}
		return true
	})
	return resp, err
}

// appendSessions adds l's sessions on the node, "" being any.
func appendSessions(list []*simpv1.UserSession, l *store.Listener, node string) []*simpv1.UserSession {
	for i := range l.Bindings {
		if b := &l.Bindings[i]; node == "" || b.Session.Node == node {
			list = append(list, &simpv1.UserSession{Ima: l.Address.String(), Session: sessionMessage(b)})
		}
	}
	return list
}

// sessionOwner finds whose session it is.
func sessionOwner(v store.View, wanted store.Session) (user protocol.Address, ok bool) {
	v.Listeners(protocol.Address{}, func(l *store.Listener) bool {
		for i := range l.Bindings {
			if l.Bindings[i].Session == wanted {
				user, ok = l.Address, true
			}
		}
		return !ok
	})
	return user, ok
}
