package router

import (
	"context"
	"slices"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// Contacts returns the user's contacts as this node knows them: those that the
// user has added, and those of the user's groups.
func (u *Connection) Contacts() (all []protocol.Contact, partial bool) {
	table, user := u.r.config.Table, u.client.User
	return listContacts(user, table.Contacts(user), table.ContactGroupsOf(user))
}

// listContacts returns a user's own contacts and those of the user's groups, in
// the order of the addresses. The own come first where there are too many, and
// then the groups in their order.
func listContacts(user protocol.Address, own []store.Contact, groups []*store.ContactGroup) (all []protocol.Contact, partial bool) {
	all = make([]protocol.Contact, 0, len(own))
	for _, c := range own {
		all = append(all, protocol.Contact{Address: c.Address, Name: c.Name})
	}
	if len(groups) == 0 {
		return all, false
	}
	places := make(map[protocol.Address]int, len(all))
	for i := range all {
		places[all[i].Address] = i
	}
	for _, g := range groups {
		g.Members(func(a protocol.Address, name string) bool {
			i, known := places[a]
			switch {
			case a == user:
			case known:
				addGroup(&all[i], g.Name, name)
			case len(all) >= protocol.MaxContacts:
				partial = true
			default:
				places[a] = len(all)
				all = append(all, protocol.Contact{Address: a, Name: name, Group: g.Name})
			}
			return true
		})
	}
	slices.SortFunc(all, func(a, b protocol.Contact) int { return a.Address.Compare(b.Address) })
	return all, partial
}

// contactMap returns what listContacts does by address.
func contactMap(user protocol.Address, own []store.Contact, groups []*store.ContactGroup) map[protocol.Address]protocol.Contact {
	all, _ := listContacts(user, own, groups)
	byAddress := make(map[protocol.Address]protocol.Contact, len(all))
	for _, c := range all {
		byAddress[c.Address] = c
	}
	return byAddress
}

// hasContact reports whether a is among the contacts that a user has added, which
// are in the order of their addresses.
func hasContact(own []store.Contact, a protocol.Address) bool {
	_, found := slices.BinarySearchFunc(own, a, func(c store.Contact, a protocol.Address) int { return c.Address.Compare(a) })
	return found
}

// addGroup records that a contact is one through a group, too.
func addGroup(c *protocol.Contact, group, name string) {
	if c.Group == "" {
		c.Group = group
	}
	if c.Name == "" {
		c.Name = name
	}
}

// groupContacts returns who is a contact of the user through groups, with the
// name and the first group of each.
func groupContacts(user protocol.Address, groups []*store.ContactGroup) map[protocol.Address]protocol.Contact {
	all := map[protocol.Address]protocol.Contact{}
	for _, g := range groups {
		g.Members(func(a protocol.Address, name string) bool {
			if _, known := all[a]; !known && a != user {
				all[a] = protocol.Contact{Address: a, Name: name, Group: g.Name}
			}
			return true
		})
	}
	return all
}

// SetContact adds or renames a contact.
func (u *Connection) SetContact(ctx context.Context, c protocol.Contact) error {
	return u.setContact(ctx, &storev1.SetContact{Address: c.Address.String(), Name: c.Name})
}

// RemoveContact removes a contact. Removing one that does not exist is not an
// error, but one that is there only through a group can't be removed.
func (u *Connection) RemoveContact(ctx context.Context, a protocol.Address) error {
	table, user := u.r.config.Table, u.client.User
	c, found := groupContacts(user, table.ContactGroupsOf(user))[a]
	if found && !hasContact(table.Contacts(user), a) {
		return protocol.Errorf(protocol.StatusForbidden, "%s is a contact through the group %s of the directory, and can't be removed", a, protocol.Quote(c.Group))
	}
	return u.setContact(ctx, &storev1.SetContact{Address: a.String(), Remove: true})
}

func (u *Connection) setContact(ctx context.Context, c *storev1.SetContact) error {
	c.Owner = u.client.User.String()
	_, err := u.r.proposeChange(ctx, &storev1.Change{Kind: &storev1.Change_SetContact{SetContact: c}})
	return err
}
