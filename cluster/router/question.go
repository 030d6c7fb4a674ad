package router

import (
	"iter"
	"slices"

	"simpd/protocol"
	"simpd/store"
)

// question is what a WATCH, an UNWATCH or a QUERY asks: each of its users is
// asked about by each of its viewers.
type question struct {
	of []protocol.Address
	by []viewer
}

// viewer is somebody who wants to know of users.
type viewer struct {
	address protocol.Address
	key     protocol.Address // as what rules compare it by
	isLocal bool             // of this site
}

// question lists who asks about whom, each once.
func (u *User) question(q protocol.WatchRequest) *question {
	asked := &question{of: q.Addresses}
	if q.Contacts {
		asked.of = slices.Clone(asked.of)
		named := setOf(asked.of)
		for _, c := range u.Contacts() {
			if !named[c.Address] {
				asked.of = append(asked.of, c.Address)
			}
		}
	}
	by := q.By
	if !u.outsider {
		by = []protocol.Address{u.client.User}
	}
	asked.by = make([]viewer, len(by))
	for i, a := range by {
		isLocal := u.r.Local(a)
		asked.by[i] = viewer{a, u.ruleKey(a, isLocal), isLocal}
	}
	return asked
}

func (q *question) len() int { return len(q.of) * len(q.by) }

// viewer returns who pair i is asked by.
func (q *question) viewer(i int) viewer { return q.by[i%len(q.by)] }

// all returns the pairs with their numbers, those about one user in a row.
func (q *question) all() iter.Seq2[int, pair] {
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

// look is what is known of users at one moment. It has been at one of them.
type look struct {
	r       *Router
	view    store.View
	unknown bool // presence of this site's users can't be known

	of      protocol.Address
	isLocal bool
	rights  *rights
	now     protocol.Presence // as those see it who may
}

func (r *Router) look(unknown bool) *look { return &look{r: r, view: r.Table.View(), unknown: unknown} }

// at looks at a user, unless it has done so just before.
func (l *look) at(of protocol.Address) {
	if of == l.of {
		return
	}
	l.of, l.isLocal, l.rights = of, l.r.Local(of), l.r.rights(of, store.Presences)
	if l.isLocal && !l.unknown {
		l.now = l.view.Presence(of)
	}
}

// seenBy returns what may be known of the user: p.by is v. The hub's mutex is
// held.
func (l *look) seenBy(p pair, v viewer) protocol.Presence {
	switch {
	case !l.isLocal:
		if f := l.r.hub.foreign[p]; f != nil {
			return f.now
		}
		return protocol.Presence{Address: p.of, State: protocol.Unknown}
	case l.unknown:
		return protocol.Presence{Address: p.of, State: protocol.Unknown}
	case !l.rights.allowViewer(v):
		return protocol.Presence{Address: p.of}
	}
	return l.now
}
