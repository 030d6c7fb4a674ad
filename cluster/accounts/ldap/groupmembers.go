package ldap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// hasUnknownMembers reports whether a member is neither a user nor a group, as far
// as is known: it may be a group that the filter does not admit.
func (r *groupReader) hasUnknownMembers() bool {
	for _, g := range r.groups {
		for _, v := range g.values {
			if dn, ok := normalDN(v); ok && r.groups[dn] == nil {
				if _, known := r.byDN[dn]; !known {
					return true
				}
			}
		}
	}
	return false
}

// link finds the members of a group.
func (r *groupReader) link(g *groupEntry) {
	for _, value := range g.values {
		user, known := 0, false
		if dn, ok := normalDN(value); ok {
			if inner := r.groups[dn]; inner != nil {
				g.groups = append(g.groups, inner)
				continue
			}
			user, known = r.byDN[dn]
		} else {
			user, known = r.byID[strings.ToLower(strings.TrimSpace(value))]
		}
		switch {
		case !known:
			r.missing++
		case user != noMember:
			r.found++
			g.users[user] = true
		}
	}
	g.values = nil
}

// linkParents has the members of groups that are in groups by the attribute Of be
// members of these.
func (r *groupReader) linkParents() {
	for _, key := range slices.Sorted(maps.Keys(r.groups)) {
		g := r.groups[key]
		for _, value := range g.values {
			if dn, ok := normalDN(value); ok && r.groups[dn] != nil {
				r.groups[dn].groups = append(r.groups[dn].groups, g)
			}
		}
		g.values = nil
	}
}

// errNoUsers is the error where the directory seems to be empty.
var errNoUsers = contentErrorf("no user's entry is found: look at base, filter and address, and at what bind_dn may read")

// errNoMembers is the error where members are named and none of them is found.
var errNoMembers = contentErrorf("none of the members of the groups is found: look at base, filter and address, and at what bind_dn may read")

// result returns the groups that were read.
func (r *groupReader) result() (accounts.FoundGroups, error) {
	switch {
	case len(r.users) == 0:
		return accounts.FoundGroups{}, errNoUsers
	case r.config.Of != "":
		r.linkParents()
	case r.found == 0 && r.missing > 0:
		return accounts.FoundGroups{}, errNoMembers
	}
	var found accounts.FoundGroups
	for _, key := range slices.Sorted(maps.Keys(r.groups)) {
		if g := r.groups[key]; g.isShown && r.isUsable(g) {
			if members := r.members(g); len(members) > 0 {
				found.Groups = append(found.Groups, accounts.Group{Key: g.key, Name: g.name, Members: members})
			}
		}
	}
	if n := len(found.Groups); n > protocol.MaxContactGroups {
		r.addProblem("there are %d groups, more than %d: the last ones are left out; narrow groups_filter", n, protocol.MaxContactGroups)
		found.Groups = found.Groups[:protocol.MaxContactGroups]
	}
	if r.unsaid > 0 {
		r.said = append(r.said, fmt.Sprintf("%d more groups are left out", r.unsaid))
	}
	found.Problems = r.said
	return found, nil
}

// isUsable reports whether a group has a name and a key that can be stored.
func (r *groupReader) isUsable(g *groupEntry) bool {
	switch {
	case g.name == "" || !protocol.ValidNote(g.name):
		r.addProblem("the group %s is left out: its name %q must have 1 to %d octets, without control characters", excerpt(g.key), excerpt(g.name), protocol.MaxNote)
		return false
	case len(g.key) > protocol.MaxGroupKey:
		r.addProblem("the group %s is left out: its distinguished name has more than %d octets", protocol.Quote(g.name), protocol.MaxGroupKey)
		return false
	}
	return true
}

// members returns the members of a group and of the groups in it; none, with a
// problem, if there are too many.
func (r *groupReader) members(g *groupEntry) (members []accounts.GroupMember) {
	all, seen, waiting := map[int]bool{}, map[*groupEntry]bool{g: true}, []*groupEntry{g}
	for len(waiting) > 0 && len(all) <= protocol.MaxGroupMembers {
		next := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		maps.Copy(all, next.users)
		for _, inner := range next.groups {
			if !seen[inner] {
				seen[inner] = true
				waiting = append(waiting, inner)
			}
		}
	}
	if len(all) > protocol.MaxGroupMembers {
		r.addProblem("the group %s (%s) is left out: it has more than %d members; exclude it with groups_filter", protocol.Quote(g.name), excerpt(g.key), protocol.MaxGroupMembers)
		return nil
	}
	for _, user := range slices.Sorted(maps.Keys(all)) {
		u := r.users[user]
		u.addresses = slices.DeleteFunc(slices.Clone(u.addresses), func(a protocol.Address) bool { return r.dropped[a] })
		if len(u.addresses) > 0 {
			members = append(members, accounts.GroupMember{Addresses: u.addresses, Name: u.name})
		}
	}
	return members
}

func (r *groupReader) addProblem(format string, args ...any) {
	if len(r.said) >= maxProblems {
		r.unsaid++
		return
	}
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func excerpt(s string) string {
	if len(s) <= maxShownText {
		return s
	}
	return strings.ToValidUTF8(s[:maxShownText], "") + "…"
}
