package router

import (
	"context"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// acl evaluates the rules of one owner for one action, as they were when it
// was made.
type acl struct {
	r     *Router
	owner protocol.Address
	thing store.Action
	rules *store.ACL // if empty, the site's policy applies
}

func (r *Router) aclOf(owner protocol.Address, thing store.Action) *acl {
	return &acl{r, owner, thing, r.config.Table.ACL(owner)}
}

// allowsViewer reports whether the rules allow the viewer, whom operators do not
// block. The most specific rule decides. Without one, anybody may send and local
// users may watch. Users may always watch themselves.
func (g *acl) allowsViewer(v viewer) bool {
	return (!v.blocked || v.address == g.owner) && g.allowsKey(v.address, v.key, v.isLocal)
}

func (g *acl) allowsKey(who, key protocol.Address, local bool) bool {
	if who == g.owner && g.thing == store.ActionPresence {
		return true
	}
	if decided, allow := g.rules.Allowed(key, local, g.thing); decided {
		return allow
	}
	return g.allowsByDefault(who, local)
}

// allowsByDefault applies the site's policy.
func (g *acl) allowsByDefault(who protocol.Address, local bool) bool {
	return local || g.thing == store.ActionMessage || who == g.owner
}

// canMessage reports whether from may send to to: the most specific rule
// decides, and without one anybody may send.
func (r *Router) canMessage(to, from protocol.Address) bool {
	decided, allow := r.config.Table.Allowed(to, from, r.Local(from), store.ActionMessage)
	return allow || !decided
}

// Rules returns the user's rules as this node knows them.
func (u *Connection) Rules() []protocol.Rule { return u.r.config.Table.Rules(u.client.User) }

// SetRule sets or removes a rule, and returns when the nodes with sessions of
// the user have applied it.
func (u *Connection) SetRule(ctx context.Context, rule protocol.Rule) error {
	res, err := u.r.proposeChange(ctx, &storev1.Change{Kind: &storev1.Change_SetRule{SetRule: &storev1.SetRule{
		Owner: u.client.User.String(), Pattern: rule.Who.String(),
		Message: store.PermissionProto(rule.Message), Presence: store.PermissionProto(rule.Presence), Written: rule.Original.String(),
	}}})
	if err != nil {
		return err
	}
	l := u.r.config.Table.Listener(u.client.User)
	if l == nil {
		return nil
	}
	if err := u.r.directory.Applied(ctx, res.Index, nodesOf(l.Bindings)); err != nil {
		return unavailableError(err)
	}
	return nil
}
