package server

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"simpd/protocol"
)

// siteUser is one connection at the site.
type siteUser struct {
	site    *site
	session protocol.Session
	address protocol.Address
	state   protocol.State
	note    string
	since   time.Time
	index   uint64
	watched []protocol.Address
	closed  int
}

func (u *siteUser) Listen(ctx context.Context, l protocol.ListenRequest) (string, uint64, error) {
	if slow := u.site.slow; slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
	}
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Exclusive {
		for _, other := range slices.Clone(s.listens[u.address]) {
			s.release(other)
			other.session.Displaced("another session listens exclusively")
		}
	}
	if len(s.listens[u.address]) >= s.most {
		return "", 0, protocol.Errorf(protocol.StatusWrongState, "16 sessions listen already")
	}
	s.index++
	u.state, u.note, u.since, u.index = l.State, l.Note, time.Now(), s.index
	s.listens[u.address] = append(s.listens[u.address], u)
	s.tell(u.address)
	return "n1.7." + string(rune('a'+len(s.users))), s.index, nil
}

func (u *siteUser) SetState(_ context.Context, state protocol.State, note *string) (uint64, error) {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	u.state, u.index = state, s.index
	if note != nil {
		u.note = *note
	}
	s.tell(u.address)
	return s.index, nil
}

func (u *siteUser) Unlisten(context.Context) (uint64, error) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	u.site.release(u)
	return u.site.index, nil
}

func (u *siteUser) Send(r *protocol.SendRequest) {
	for i, to := range r.To {
		u.site.send(r, u.address, i, to)
	}
}

func (u *siteUser) BeginWatch(r protocol.WatchRequest, write func([]protocol.Notice, uint64)) (func(context.Context), error) {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	all := r.Addresses
	if r.Contacts {
		all = append(all, slices.SortedFunc(maps.Keys(s.contacts[u.address]), protocol.Address.Compare)...)
	}
	at := s.notices(u.address, all)
	for _, a := range all {
		if !slices.Contains(u.watched, a) {
			u.watched = append(u.watched, a)
		}
	}
	if asksMute(all) {
		return func(ctx context.Context) { awaitMute(ctx); write(at, s.index) }, nil
	}
	write(at, s.index)
	return nil, nil
}

func (u *siteUser) Unwatch(r protocol.WatchRequest) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	u.watched = slices.DeleteFunc(u.watched, func(a protocol.Address) bool {
		return len(r.Addresses) == 0 || slices.Contains(r.Addresses, a)
	})
}

func (u *siteUser) Query(ctx context.Context, r protocol.WatchRequest) (at []protocol.Notice, index uint64, err error) {
	if asksMute(r.Addresses) || u.site.isMinority.Load() && r.Fresh {
		awaitMute(ctx)
	}
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	if len(r.By) == 0 {
		return u.site.notices(u.address, r.Addresses), u.site.index, nil
	}
	for _, a := range r.Addresses {
		for _, by := range r.By {
			for _, n := range u.site.notices(by, []protocol.Address{a}) {
				n.By = []protocol.Address{by}
				at = append(at, n)
			}
		}
	}
	return at, u.site.index, nil
}

func (u *siteUser) Watchers(context.Context) (by []protocol.Address, partial bool, err error) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	for other := range u.site.users {
		if slices.Contains(other.watched, u.address) {
			by = append(by, other.address)
		}
	}
	slices.SortFunc(by, protocol.Address.Compare)
	return slices.Compact(by), false, nil
}

func (u *siteUser) Rules() (all []protocol.Rule) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	for _, r := range u.site.rules[u.address] {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b protocol.Rule) int { return cmp.Compare(a.Who.String(), b.Who.String()) })
	return all
}

func (u *siteUser) SetRule(_ context.Context, r protocol.Rule) error {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rules[u.address] == nil {
		s.rules[u.address] = map[protocol.Pattern]protocol.Rule{}
	}
	s.index++
	if r.IsEmpty() {
		delete(s.rules[u.address], r.Who)
	} else {
		s.rules[u.address][r.Who] = r
	}
	return nil
}

func (u *siteUser) Contacts() (all []protocol.Contact, partial bool) {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	for a, name := range u.site.contacts[u.address] {
		all = append(all, protocol.Contact{Address: a, Name: name})
	}
	all = append(all, u.site.groupContacts...)
	slices.SortFunc(all, func(a, b protocol.Contact) int { return a.Address.Compare(b.Address) })
	return all, u.site.groupContacts != nil
}

func (u *siteUser) SetContact(_ context.Context, c protocol.Contact) error {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contacts[u.address] == nil {
		s.contacts[u.address] = map[protocol.Address]string{}
	}
	s.index++
	s.contacts[u.address][c.Address] = c.Name
	return nil
}

func (u *siteUser) RemoveContact(_ context.Context, a protocol.Address) error {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	u.site.index++
	delete(u.site.contacts[u.address], a)
	return nil
}

func (u *siteUser) AppPasswords() []protocol.AppPassword {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	return slices.Clone(u.site.apps[u.address])
}

func (u *siteUser) AddAppPassword(_ context.Context, p protocol.AppPassword, c protocol.Credentials) (uint64, error) {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.accounts[u.address]
	switch {
	case len(s.apps[u.address]) >= protocol.MaxAppPasswords:
		return 0, protocol.Errorf(protocol.StatusWrongState, "16 app passwords already")
	case string(c.Salt) != string(own.Salt) || c.Iterations != own.Iterations:
		return 0, protocol.ErrOtherSalt
	}
	s.index++
	p.ID, p.Created = s.index, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	own.AppPasswords = append(slices.Clone(own.AppPasswords), protocol.AppVerifier{ID: p.ID, StoredKey: c.StoredKey, ServerKey: c.ServerKey})
	own.SharesSalt = true
	s.accounts[u.address] = own
	s.apps[u.address] = append(s.apps[u.address], p)
	return p.ID, nil
}

func (u *siteUser) RemoveAppPassword(_ context.Context, id uint64) error {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	has := func(p protocol.AppPassword) bool { return p.ID == id }
	if !slices.ContainsFunc(s.apps[u.address], has) {
		return protocol.Errorf(protocol.StatusUnknownAddress, "no such app password")
	}
	s.apps[u.address] = slices.DeleteFunc(slices.Clone(s.apps[u.address]), has)
	own := s.accounts[u.address]
	own.AppPasswords = slices.DeleteFunc(slices.Clone(own.AppPasswords), func(v protocol.AppVerifier) bool { return v.ID == id })
	s.accounts[u.address] = own
	return nil
}

func (u *siteUser) SetPassword(_ context.Context, c protocol.Credentials) error {
	s := u.site
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	c.Index = s.index
	c.AppPasswords, c.SharesSalt = s.accounts[u.address].AppPasswords, s.accounts[u.address].SharesSalt
	s.accounts[u.address] = c
	for other := range s.users {
		if other != u && other.address == u.address {
			other.session.Bye(protocol.StatusUnauthorized, "the password was changed")
		}
	}
	return nil
}

func (u *siteUser) Close() {
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	u.closed++
	u.site.release(u)
	delete(u.site.users, u)
}
