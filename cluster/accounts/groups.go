package accounts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"simpd/protocol"
)

// GroupSource is a source that has groups, whose members get one another as
// contacts.
type GroupSource interface {
	Source
	// GroupInterval returns how often its groups are to be read; 0: it is not
	// configured to have any.
	GroupInterval() time.Duration
	// FindGroups returns all groups. An error means that nothing is known of any of
	// them.
	FindGroups(ctx context.Context) (FoundGroups, error)
}

// FoundGroups holds the groups of a source.
type FoundGroups struct {
	Groups []Group // in the order of their keys
	// Problems are sentences about groups that were left out.
	Problems []string
	// MaxLeavers limits the groups that may disappear at once, in percent.
	MaxLeavers int
}

// Group is a group with at least one member.
type Group struct {
	Key     string // unique in the source
	Name    string
	Members []GroupMember
}

// GroupMember is a member of a group.
type GroupMember struct {
	Addresses []protocol.Address // all that the entry has
	Name      string             // for people; may be empty
}

// GroupSources returns the sources that have groups, and how often each is to be
// read. generation changes with each new configuration.
func (r *Registry) GroupSources() (sources map[string]time.Duration, generation uint64) {
	now := r.current.Load()
	sources = map[string]time.Duration{}
	for name, m := range now.members {
		if s, ok := m.source.(GroupSource); ok && s.GroupInterval() > 0 {
			sources[name] = s.GroupInterval()
		}
	}
	return sources, now.generation
}

// groupsTime limits the time to read the groups of a source.
const groupsTime = 2 * time.Minute

// FindGroups returns the groups of a source, with those members who are users of
// a domain of the source. It makes one of the queries that may be in flight.
func (r *Registry) FindGroups(ctx context.Context, source string) (FoundGroups, error) {
	now := r.current.Load()
	m := now.members[source]
	if m == nil {
		return FoundGroups{}, &UnavailableError{Source: source, Err: errNoSource}
	}
	s, ok := m.source.(GroupSource)
	if !ok {
		return FoundGroups{}, &UnavailableError{Source: source, Err: errNoSource}
	}
	ctx, cancel := context.WithTimeout(ctx, groupsTime)
	defer cancel()
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return FoundGroups{}, m.unavailable(fmt.Errorf("%d queries are in flight already", maxInFlight))
	}
	found, err := s.FindGroups(ctx)
	if err != nil {
		return FoundGroups{}, m.unavailable(err)
	}
	for i := range found.Groups {
		found.Groups[i].Members = now.onlyUsersOf(m, found.Groups[i].Members)
	}
	found.Groups = slices.DeleteFunc(found.Groups, func(g Group) bool { return len(g.Members) == 0 })
	return found, nil
}

// onlyUsersOf returns the members whose address is of a domain of the source, with
// these addresses.
func (g *registered) onlyUsersOf(m *member, members []GroupMember) (kept []GroupMember) {
	for _, one := range members {
		one.Addresses = slices.DeleteFunc(slices.Clone(one.Addresses), func(a protocol.Address) bool {
			return !slices.Contains(g.domains[a.Domain()], m)
		})
		if len(one.Addresses) > 0 {
			kept = append(kept, one)
		}
	}
	return kept
}

// CountGroupSync counts a reading of a source's groups.
func (r *Registry) CountGroupSync(source string, ok bool) {
	m := r.current.Load().members[source]
	switch {
	case m == nil:
	case ok:
		m.metrics.GroupsRead.Add(1)
	default:
		m.metrics.GroupsFailed.Add(1)
	}
}
