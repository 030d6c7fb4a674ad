package router

import (
	"context"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// rights answers who may, for one owner and one thing, as the rules were when
// it was made.
type rights struct {
	r     *Router
	owner protocol.Address
	thing store.Thing
	acl   *store.ACL // empty: the site's policy holds for all
}

func (r *Router) rights(owner protocol.Address, thing store.Thing) *rights {
	return &rights{r, owner, thing, r.Table.ACL(owner)}
}

// allowViewer reports whether the viewer may. The most specific rule decides;
// where none does, everybody may send, and users of this site may watch. Users
// may always watch themselves.
func (g *rights) allowViewer(v viewer) bool { return g.allowKey(v.address, v.key, v.isLocal) }

func (g *rights) allowKey(who, key protocol.Address, local bool) bool {
	if who == g.owner && g.thing == store.Presences {
		return true
	}
	if decided, allow := g.acl.Allowed(key, local, g.thing); decided {
		return allow
	}
	return g.allowUnruled(who, local)
}

// allowUnruled is the site's policy.
func (g *rights) allowUnruled(who protocol.Address, local bool) bool {
	return local || g.thing == store.Messages || who == g.owner
}

// mayMessage reports whether from may send to: as the most specific rule says,
// and where none does, everybody may.
func (r *Router) mayMessage(to, from protocol.Address) bool {
	decided, allow := r.Table.Allowed(to, from, r.Local(from), store.Messages)
	return allow || !decided
}

// Rules returns the user's rules, as this node knows them.
func (u *User) Rules() []protocol.Rule { return u.r.Table.Rules(u.client.User) }

// SetRule sets or removes a rule, and returns once the nodes that hold
// sessions of the user have applied it.
func (u *User) SetRule(ctx context.Context, rule protocol.Rule) error {
	res, err := u.r.propose(ctx, &storev1.Change{Kind: &storev1.Change_SetRule{SetRule: &storev1.SetRule{
		Owner: u.client.User.String(), Pattern: rule.Who.String(),
		Message: storev1.Permission(rule.Message), Presence: storev1.Permission(rule.Presence), Written: rule.Written.String(),
	}}})
	if err != nil {
		return err
	}
	l := u.r.Table.Listener(u.client.User)
	if l == nil {
		return nil
	}
	if err := u.r.Directory.Applied(ctx, res.Index, nodesOf(l.Bindings)); err != nil {
		return unavailable(err)
	}
	return nil
}

// Contacts returns the user's contacts, as this node knows them.
func (u *User) Contacts() []protocol.Contact { return u.r.Table.Contacts(u.client.User) }

// SetContact adds or renames a contact.
func (u *User) SetContact(ctx context.Context, c protocol.Contact) error {
	return u.setContact(ctx, &storev1.SetContact{Address: c.Address.String(), Name: c.Name})
}

// RemoveContact removes a contact, if it is there.
func (u *User) RemoveContact(ctx context.Context, a protocol.Address) error {
	return u.setContact(ctx, &storev1.SetContact{Address: a.String(), Remove: true})
}

func (u *User) setContact(ctx context.Context, c *storev1.SetContact) error {
	c.Owner = u.client.User.String()
	_, err := u.r.propose(ctx, &storev1.Change{Kind: &storev1.Change_SetContact{SetContact: c}})
	return err
}
