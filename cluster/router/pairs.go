package router

import (
	"iter"
	"slices"

	"simpd/protocol"
	"simpd/store"
)

// pairSet is what a WATCH, UNWATCH or QUERY asks about: each user in of, for
// each viewer in by.
type pairSet struct {
	of []protocol.Address
	by []viewer

	// Where contacts are asked for: the groups that some of them come from, and
	// who is in of only as a contact.
	groups      []*store.ContactGroup
	viaContacts map[protocol.Address]bool
}

// viewer is somebody who wants to see the presence of users.
type viewer struct {
	address protocol.Address
	key     protocol.Address // the form of address that rules are compared with
	isLocal bool             // of this site
	blocked bool             // operators block them, or the connection
}

// newPairSet returns the pairs that q asks about, each user once.
func (u *Connection) newPairSet(q protocol.WatchRequest) *pairSet {
	asked := &pairSet{of: q.Addresses}
	if q.Contacts {
		u.addContacts(asked)
	}
	by := q.By
	if !u.isRemote {
		by = []protocol.Address{u.client.User}
	}
	asked.by = make([]viewer, len(by))
	for i, a := range by {
		isLocal := u.r.Local(a)
		asked.by[i] = viewer{a, u.ruleKey(a, isLocal), isLocal, u.blocks(a)}
	}
	return asked
}

// addContacts adds the user's contacts to the requested users.
func (u *Connection) addContacts(asked *pairSet) {
	asked.of = slices.Clone(asked.of)
	asked.viaContacts = map[protocol.Address]bool{}
	named := addressSet(asked.of)
	table, user := u.r.config.Table, u.client.User
	asked.groups = table.ContactGroupsOf(user)
	all, _ := listContacts(user, table.Contacts(user), asked.groups)
	for _, c := range all {
		if named[c.Address] {
			continue
		}
		asked.of = append(asked.of, c.Address)
		asked.viaContacts[c.Address] = true
	}
}

func (q *pairSet) len() int { return len(q.of) * len(q.by) }

// viewer returns the viewer of pair i.
func (q *pairSet) viewer(i int) viewer { return q.by[i%len(q.by)] }

// pairs iterates over the numbered pairs. Pairs with the same user follow
// each other.
func (q *pairSet) pairs() iter.Seq2[int, pair] {
	return func(yield func(int, pair) bool) {
		i := 0
		for _, of := range q.of {
			for _, by := range q.by {
				if !yield(i, pair{by: by.address, of: of}) {
					return
				}
				i++
			}
		}
	}
}

// presenceReader reads the presence of users at one moment. It holds the
// result for one user at a time.
type presenceReader struct {
	r         *Router
	view      store.View
	isUnknown bool // the presence of local users can't be known

	of       protocol.Address
	isLocal  bool
	acl      *acl
	presence protocol.Presence // without regard to rules
}

func (r *Router) newPresenceReader(unknown bool) *presenceReader {
	return &presenceReader{r: r, view: r.config.Table.View(), isUnknown: unknown}
}

// load reads the presence of a user, unless it is the one read last.
func (l *presenceReader) load(of protocol.Address) {
	if of == l.of {
		return
	}
	l.of, l.isLocal, l.acl = of, l.r.Local(of), l.r.aclOf(of, store.ActionPresence)
	if l.isLocal && !l.isUnknown {
		l.presence = l.view.Presence(of)
	}
}

// presenceFor returns what v, who is p.by, may see of the user. The caller
// holds the hub's mutex.
func (l *presenceReader) presenceFor(p pair, v viewer) protocol.Presence {
	switch {
	case !l.isLocal:
		if f := l.r.hub.remote[p]; f != nil {
			return v.hideRemote(f.presence)
		}
		return protocol.Presence{Address: p.of, State: protocol.Unknown}
	case l.isUnknown:
		return protocol.Presence{Address: p.of, State: protocol.Unknown}
	case !l.acl.allowsViewer(v):
		return protocol.Presence{Address: p.of}
	}
	return l.presence
}

// hideRemote returns what v sees of the presence of a remote user.
func (v *viewer) hideRemote(p protocol.Presence) protocol.Presence {
	if v.blocked {
		return hiddenPresence(p)
	}
	return p
}
