package router

import (
	"hash/maphash"
	"slices"
	"time"

	"simpd/cluster/ratelimit"
	"simpd/protocol"
	"simpd/protocol/netaddr"
	"simpd/store"
)

// meters count what one party does on one connection: a user, a remote domain
// or a program, and the source that a user comes from.
type meters struct {
	messages, watches, contacts       ratelimit.Meter
	messagesHere, watchesHere, newOne ratelimit.Meter // by source
}

// userMeters returns the meters of a user who comes from a source. A source
// that many share, such as a balancer, has no limits.
func (r *Router) userMeters(c *protocol.Client) *meters {
	m, user := new(meters), ratelimit.KeyOf(c.User.String())
	m.messages.Set(r.limits, ratelimit.MessagesByUser, user)
	m.watches.Set(r.limits, ratelimit.WatchesByUser, user)
	m.contacts.Set(r.limits, ratelimit.FirstContactsByUser, user)
	if source, ok := sourceKey(c); ok {
		m.messagesHere.Set(r.limits, ratelimit.MessagesBySource, source)
		m.watchesHere.Set(r.limits, ratelimit.WatchesBySource, source)
		m.newOne.Set(r.limits, ratelimit.FirstContactsBySource, source)
	}
	return m
}

// domainMeters returns the meters of a remote domain. Whoever has registered a
// domain makes all names below it, so they count as one.
func (r *Router) domainMeters(domain string) *meters {
	m, key := new(meters), ratelimit.KeyOf(netaddr.Registrable(domain))
	m.messages.Set(r.limits, ratelimit.MessagesByDomain, key)
	m.watches.Set(r.limits, ratelimit.WatchesByDomain, key)
	m.contacts.Set(r.limits, ratelimit.FirstContactsByDomain, key)
	return m
}

func (r *Router) programMeters(name string) *meters {
	m, key := new(meters), ratelimit.KeyOf(name)
	m.messages.Set(r.limits, ratelimit.MessagesByProgram, key)
	m.contacts.Set(r.limits, ratelimit.FirstContactsByProgram, key)
	return m
}

// sourceKey returns the key of the source of a connection; false: it counts
// for none.
func sourceKey(c *protocol.Client) (ratelimit.Key, bool) {
	source := netaddr.Source(c.Remote.Addr())
	if c.SharesSource || !source.IsValid() {
		return ratelimit.Key{}, false
	}
	return ratelimit.KeyOf(source.String()), true
}

// ownMeters returns the meters of the connection's party.
func (u *Connection) ownMeters() *meters {
	if m := u.sender.meters.Load(); m != nil {
		return m
	}
	var made *meters
	if u.isRemote {
		made = u.r.domainMeters(u.client.Domain)
	} else {
		made = u.r.userMeters(&u.client)
	}
	u.sender.meters.CompareAndSwap(nil, made)
	return u.sender.meters.Load()
}

// TakeMessages counts n messages, of from on a routing connection, and returns
// 0. Above a limit it counts none and returns how long to wait.
func (u *Connection) TakeMessages(from protocol.Address, n int) time.Duration {
	m := u.ownMeters()
	if !u.isRemote {
		return u.r.limits.Take(n, &m.messages, &m.messagesHere)
	}
	var stranger ratelimit.Meter
	if !u.r.limits.IsUnlimited(ratelimit.MessagesByUser) {
		stranger.Set(u.r.limits, ratelimit.MessagesByUser, ratelimit.KeyOf(from.CaseFold().String()))
	}
	return u.r.limits.Take(n, &stranger, &m.messages)
}

// TakeWatches counts n watched or queried addresses likewise: on a routing
// connection those of all users in by together.
func (u *Connection) TakeWatches(by []protocol.Address, n int) time.Duration {
	meters, each := u.watchMeters(by, n)
	return u.r.limits.Take(each, meters...)
}

// SpendWatches counts n watched or queried addresses whatever the limits.
func (u *Connection) SpendWatches(by []protocol.Address, n int) {
	meters, each := u.watchMeters(by, n)
	u.r.limits.Spend(each, meters...)
}

// watchMeters returns the meters that count n watched addresses, and how much
// each of them counts. The meter of a remote domain is there once for each of its
// users.
func (u *Connection) watchMeters(by []protocol.Address, n int) (meters []*ratelimit.Meter, each int) {
	m := u.ownMeters()
	if !u.isRemote || len(by) == 0 || u.r.limits.IsUnlimited(ratelimit.WatchesByUser) {
		return []*ratelimit.Meter{&m.watches, &m.watchesHere}, n
	}
	strangers := make([]ratelimit.Meter, len(by))
	for i, a := range by {
		strangers[i].Set(u.r.limits, ratelimit.WatchesByUser, ratelimit.KeyOf(a.CaseFold().String()))
		meters = append(meters, &strangers[i], &m.watches)
	}
	return meters, n / len(by)
}

// takeLogin counts a successful login; the error is 429 above a limit.
func (r *Router) takeLogin(c *protocol.Client) error {
	var party, source ratelimit.Meter
	if c.Domain != "" {
		party.Set(r.limits, ratelimit.LoginsByDomain, ratelimit.KeyOf(netaddr.Registrable(c.Domain)))
	} else {
		party.Set(r.limits, ratelimit.LoginsByUser, ratelimit.KeyOf(c.User.String()))
		if key, ok := sourceKey(c); ok {
			source.Set(r.limits, ratelimit.LoginsBySource, key)
		}
	}
	if wait := r.limits.Take(1, &party, &source); wait > 0 {
		return &protocol.Error{Status: protocol.StatusSlowDown, Text: "too many logins in a short time", Retry: retrySeconds(wait)}
	}
	return nil
}

// retrySeconds returns a time to wait in whole seconds, at least one.
func retrySeconds(wait time.Duration) int {
	return max(1, int((wait+time.Second-1)/time.Second))
}

// slowDown returns the outcome of a message above a limit.
func slowDown(text string, wait time.Duration) protocol.Outcome {
	return protocol.Outcome{Status: protocol.StatusSlowDown, Text: text, Retry: retrySeconds(wait)}
}

// takeContact counts a message's recipient if they are new to its sender, and
// returns 0. Above a limit it returns how long to wait. Whom the recipient has as
// contacts does not matter: a 429 would tell it.
func (s *sender) takeContact(from, to protocol.Address) time.Duration {
	m := s.meters.Load()
	if m == nil || !s.isRemote && s.isRecent(to) {
		return 0
	}
	r, group := s.r, contactGroup{}
	var stranger ratelimit.Meter
	own := &m.contacts
	switch {
	case s.isRemote && r.limits.IsUnlimited(ratelimit.FirstContactsByStranger) && r.limits.IsUnlimited(ratelimit.FirstContactsByDomain):
		return 0
	case s.isRemote:
		from = from.CaseFold()
		group.domain = netaddr.Registrable(from.Domain())
		own = &stranger
	case s.program != "" && r.limits.IsUnlimited(ratelimit.FirstContactsByProgram):
		return 0
	case s.program == "" && r.limits.IsUnlimited(ratelimit.FirstContactsByUser) && r.limits.IsUnlimited(ratelimit.FirstContactsBySource):
		return 0
	default:
		group.part = 1 + uint16(maphash.Comparable(r.firstContacts.seed, from)%localGroups)
	}
	p := pair{from, to}
	if r.firstContacts.isKnown(group, p) || !s.isRemote && r.hasContact(from, to) {
		return 0
	}
	other := &m.newOne
	if s.isRemote {
		stranger.Set(r.limits, ratelimit.FirstContactsByStranger, ratelimit.KeyOf(from.String()))
		other = &m.contacts
	}
	if wait := r.limits.Take(1, own, other); wait > 0 {
		return wait
	}
	r.firstContacts.remember(group, p)
	return 0
}

// hasContact reports whether who is a contact of a local user, also through a group.
func (r *Router) hasContact(owner, who protocol.Address) bool {
	who = who.CaseFold()
	for _, c := range r.config.Table.Contacts(owner) {
		if c.Address.CaseFold() == who {
			return true
		}
	}
	return slices.ContainsFunc(r.config.Table.ContactGroupsOf(owner), func(g *store.ContactGroup) bool { return g.Has(who) })
}
