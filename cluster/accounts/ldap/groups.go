package ldap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// GroupConfig says where the groups of a directory are.
type GroupConfig struct {
	// Base is the entry below which groups' entries are; empty: there are none.
	Base string
	// Filter limits the entries; empty: standardGroups.
	Filter string
	// Name is the attribute with the name of a group; empty: cn.
	Name string
	// Members are the attributes with the members; empty: member, uniqueMember and
	// memberUid. A value is the distinguished name of a user's or a group's entry, or
	// what the user's entry has in MemberID (empty: uid).
	Members  []string
	MemberID string
	// Of is the attribute of users' entries that says which groups they are in, such
	// as memberOf or department; empty: the groups' entries say it. A value is the
	// distinguished name of a group, or the name itself.
	Of string
	// DisplayName is the attribute with the name of a user; empty: displayName.
	DisplayName string
	// Interval separates two readings of the groups; 0: DefaultGroupInterval.
	Interval time.Duration
}

// DefaultGroupInterval is the default of GroupConfig.Interval.
const DefaultGroupInterval = 5 * time.Minute

// standardGroups admits the entries of groups in all usual directories.
const standardGroups = "(|(objectClass=group)(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))"

func (g *GroupConfig) isEnabled() bool { return g.Base != "" || g.Of != "" }

// setDefaults fills in what is not configured.
func (g *GroupConfig) setDefaults() {
	g.Filter = cmp.Or(g.Filter, standardGroups)
	g.Name = cmp.Or(g.Name, "cn")
	g.MemberID = cmp.Or(g.MemberID, "uid")
	g.DisplayName = cmp.Or(g.DisplayName, "displayName")
	g.Interval = cmp.Or(g.Interval, DefaultGroupInterval)
	if len(g.Members) == 0 {
		g.Members = []string{"member", "uniqueMember", "memberUid"}
	}
}

// GroupInterval returns how often groups are to be read; 0: there are none.
func (s *Source) GroupInterval() time.Duration {
	if !s.config.Groups.isEnabled() {
		return 0
	}
	return s.config.Groups.Interval
}

// FindGroups returns all groups with their members, also those of groups within
// groups.
func (s *Source) FindGroups(ctx context.Context) (found accounts.FoundGroups, err error) {
	err = s.askForGroups(ctx, func(ctx context.Context, p *pool) error {
		return p.use(ctx, searching, func(c *conn) (err error) { // one connection: pages belong to it
			r := &groupReader{s: s, conn: c, config: &s.config.Groups}
			if err := r.read(ctx); err != nil {
				return err
			}
			found, err = r.result()
			return err
		})
	})
	found.MaxLeavers = s.config.MaxLeavers
	return found, err
}

// askForGroups calls ask with one server after the other until one answers, within
// shares of the time. Reading groups takes minutes where a login takes moments: so it
// never is the query that tries a failing server, and says nothing about one.
func (s *Source) askForGroups(ctx context.Context, ask func(context.Context, *pool) error) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(protocol.SourceTimeout)
	}
	var errs []string
	for i, p := range s.pools {
		if p.breaker.IsOpen() {
			errs = append(errs, p.name+" has failed a moment ago")
			continue
		}
		within := time.Until(deadline) / time.Duration(len(s.pools)-i)
		share, cancel := context.WithTimeout(ctx, within)
		err := ask(share, p)
		if err != nil && share.Err() != nil {
			err = fmt.Errorf("no answer within %v", within.Round(time.Millisecond))
		}
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Sprintf("%s: %v", p.name, plainError(err)))
	}
	return &accounts.UnavailableError{Source: s.config.Name, Err: errors.New(strings.Join(errs, "; "))}
}

// What is read of a directory at most. More is an error, and changes nothing.
const (
	maxGroupUsers   = 250_000
	maxGroupEntries = 20_000
	maxShownText    = 100 // octets of a name in a problem
	maxProblems     = 10
)

// groupReader reads the groups of one server.
type groupReader struct {
	s      *Source
	conn   *conn
	config *GroupConfig

	users   []groupUser
	byDN    map[string]int // users by their distinguished names in normal form; noMember: one who is none
	byID    map[string]int // users by MemberID in small letters
	groups  map[string]*groupEntry
	dropped map[protocol.Address]bool // addresses of several entries
	missing int                       // members who are no users
	found   int                       // members who are
	said    []string                  // problems
	unsaid  int                       // further ones
}

// noMember stands for a user whose account is disabled.
const noMember = -1

// groupUser is a user's entry.
type groupUser struct {
	addresses []protocol.Address
	name      string
}

// groupEntry is a group: an entry, or what users' entries name.
type groupEntry struct {
	key, name string
	isShown   bool // false: it counts only as a part of others
	values    []string
	users     map[int]bool
	groups    []*groupEntry // whose members are members of this one
}

func (r *groupReader) read(ctx context.Context) error {
	r.byDN, r.byID = map[string]int{}, map[string]int{}
	r.groups, r.dropped = map[string]*groupEntry{}, map[protocol.Address]bool{}
	if r.config.Base != "" {
		if err := r.readGroups(ctx, r.config.Filter, true); err != nil {
			return err
		}
	}
	if err := r.readUsers(ctx); err != nil {
		return err
	}
	if r.config.Of != "" {
		return nil
	}
	if r.hasUnknownMembers() && r.config.Filter != standardGroups {
		if err := r.readGroups(ctx, standardGroups, false); err != nil {
			return err
		}
	}
	for _, g := range r.groups {
		r.link(g)
	}
	return nil
}

// readUsers reads the entries of all users.
func (r *groupReader) readUsers(ctx context.Context) error {
	c := &r.s.config
	attributes := append([]string{r.config.DisplayName, "cn", r.config.MemberID}, c.userAttributes()...)
	if r.config.Of != "" {
		attributes = append(attributes, r.config.Of)
	}
	owners := map[protocol.Address]bool{}
	now := time.Now()
	err := r.search(ctx, c.Base, c.Filter, attributes, maxGroupUsers, func(e *ldap.Entry) error {
		at := len(r.users)
		u := groupUser{addresses: c.Address.addresses(e), name: r.displayName(e)}
		if disabledReason(e, now) != "" || len(u.addresses) == 0 {
			at = noMember
		}
		if dn, ok := normalDN(e.DN); ok {
			r.byDN[dn] = at
		}
		for _, id := range e.GetEqualFoldAttributeValues(r.config.MemberID) {
			r.byID[strings.ToLower(id)] = at
		}
		for _, a := range u.addresses {
			r.dropped[a] = owners[a]
			owners[a] = true
		}
		if at == noMember {
			return nil
		}
		r.users = append(r.users, u)
		return r.addToNamedGroups(at, e)
	})
	maps.DeleteFunc(r.dropped, func(_ protocol.Address, dropped bool) bool { return !dropped })
	return err
}

// displayName returns the name of a user for people.
func (r *groupReader) displayName(e *ldap.Entry) string {
	for _, attribute := range []string{r.config.DisplayName, "cn"} {
		if name := strings.TrimSpace(e.GetEqualFoldAttributeValue(attribute)); name != "" && protocol.ValidNote(name) {
			return name
		}
	}
	return ""
}

// addToNamedGroups adds a user to the groups that the user's entry names.
func (r *groupReader) addToNamedGroups(user int, e *ldap.Entry) error {
	if r.config.Of == "" {
		return nil
	}
	for _, value := range e.GetEqualFoldAttributeValues(r.config.Of) {
		g := r.namedGroup(value)
		if g == nil {
			continue
		}
		if len(r.groups) > maxGroupEntries {
			return contentErrorf("the attribute %s names more than %d groups", r.config.Of, maxGroupEntries)
		}
		g.users[user] = true
	}
	return nil
}

// namedGroup returns the group of a value of the attribute Of; nil if it is none.
func (r *groupReader) namedGroup(value string) *groupEntry {
	value = strings.TrimSpace(value)
	key, name := strings.ToLower(value), value
	if dn, ok := normalDN(value); ok {
		key, name = dn, firstValue(value)
	}
	g := r.groups[key]
	switch {
	case g == nil && (r.config.Base != "" || value == ""):
		return nil // it is not among the groups that there are
	case g == nil:
		g = &groupEntry{key: key, name: name, isShown: true, users: map[int]bool{}}
		r.groups[key] = g
	case r.config.Base == "" && name < g.name: // whatever the order of the entries is
		g.name = name
	}
	return g
}

// readGroups reads the entries of groups.
func (r *groupReader) readGroups(ctx context.Context, filter string, shown bool) error {
	attributes := append([]string{r.config.Name}, r.config.Members...)
	if r.config.Of != "" {
		attributes = []string{r.config.Name, r.config.Of}
	}
	return r.search(ctx, r.config.Base, filter, attributes, maxGroupEntries, func(e *ldap.Entry) error {
		key, ok := normalDN(e.DN)
		if !ok || r.groups[key] != nil {
			return nil
		}
		g := &groupEntry{key: key, name: strings.TrimSpace(e.GetEqualFoldAttributeValue(r.config.Name)), isShown: shown, users: map[int]bool{}}
		r.groups[key] = g
		if r.config.Of != "" {
			g.values = e.GetEqualFoldAttributeValues(r.config.Of)
			return nil
		}
		for _, attribute := range r.config.Members {
			values, err := r.allValues(ctx, e, attribute)
			if err != nil {
				return err
			}
			g.values = append(g.values, values...)
		}
		return nil
	})
}

// allValues returns the values of an attribute. Active Directory returns at most
// 1500 at once, and the others by range.
func (r *groupReader) allValues(ctx context.Context, e *ldap.Entry, attribute string) ([]string, error) {
	values := e.GetEqualFoldAttributeValues(attribute)
	part, last := rangeOf(e, attribute)
	for part != nil {
		values = append(values, part.Values...)
		if last < 0 {
			break
		}
		next := fmt.Sprintf("%s;range=%d-*", attribute, last+1)
		entry, err := r.readEntry(ctx, e.DN, next)
		if err != nil {
			return nil, fmt.Errorf("reading %s of %s: %w", next, e.DN, err)
		}
		before := last
		if part, last = rangeOf(entry, attribute); part == nil || last >= 0 && last <= before {
			return nil, contentErrorf("%s of %s: the directory does not return it", next, e.DN)
		}
	}
	return values, nil
}

// rangeOf returns the part of an attribute that an entry has, and the number of its
// last value; -1 if it ends with the attribute. nil: it has no part.
func rangeOf(e *ldap.Entry, attribute string) (part *ldap.EntryAttribute, last int) {
	for _, a := range e.Attributes {
		name, option, _ := strings.Cut(a.Name, ";")
		bounds, isRange := strings.CutPrefix(strings.ToLower(option), "range=")
		if !isRange || !strings.EqualFold(name, attribute) {
			continue
		}
		_, end, _ := strings.Cut(bounds, "-")
		if _, err := fmt.Sscanf(end, "%d", &last); err != nil {
			return a, -1
		}
		return a, last
	}
	return nil, 0
}
