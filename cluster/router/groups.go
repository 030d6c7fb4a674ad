package router

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"simpd/cluster/accounts"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

const (
	// groupTick is how often the leader looks whether the groups of a directory
	// have to be read.
	groupTick = time.Second
	// fewGroups may disappear from a directory at once, whatever their share is.
	fewGroups = 10
	// soonPause is when a directory that failed, or had no groups any more, is asked
	// again.
	soonPause = 30 * time.Second
	// groupBatch limits the octets of groups in one proposal.
	groupBatch = 128 << 10
)

// groupSync is what the leader knows of the groups of directories. Only the
// goroutine of syncContactGroups uses it, but for problems.
type groupSync struct {
	generation uint64               // of the configuration of sources
	due        map[string]time.Time // by source; when its groups are read next
	empty      map[string]bool      // by source; it had no groups when they were last read

	mu       sync.Mutex
	problems map[string][]string // by source
}

// setProblems records what is wrong with the groups of a source; "" stands for
// all.
func (s *groupSync) setProblems(source string, problems []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if source == "" || s.problems == nil {
		s.problems = map[string][]string{}
	}
	s.problems[source] = problems
}

// allProblems returns a sentence for each thing that is wrong with groups.
func (s *groupSync) allProblems() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, source := range slices.Sorted(maps.Keys(s.problems)) {
		all = append(all, s.problems[source]...)
	}
	return all
}

// syncContactGroups keeps the table's contact groups as those of the directories,
// while this node leads, until the router shuts down.
func (r *Router) syncContactGroups() {
	tick := time.NewTicker(groupTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.syncDueGroups(time.Now())
		case <-r.ctx.Done():
			return
		}
	}
}

// syncDueGroups reads the groups of each source whose time has come. A new leader,
// and one with a new configuration, reads all.
func (r *Router) syncDueGroups(now time.Time) {
	s := &r.groupSync
	if !r.config.Leads() || !r.config.Table.HasContactGroups() {
		s.due = nil
		s.setProblems("", nil)
		return
	}
	sources, generation := r.config.Sources.GroupSources()
	if s.due == nil || s.generation != generation {
		s.due, s.empty, s.generation = map[string]time.Time{}, map[string]bool{}, generation
		s.setProblems("", nil)
		if err := r.removeForeignGroups(sources); err != nil {
			r.config.Logger.Warn("the groups of a former source could not be removed", "error", err)
			s.due = nil // so it is tried again
			return
		}
	}
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		if now.Before(s.due[source]) {
			continue
		}
		problems, err := r.syncGroups(source)
		if err != nil {
			r.config.Logger.Warn("the groups of a source could not be read, and stay as they are", "source", source, "error", err)
			problems = []string{fmt.Sprintf("the groups of the account source %s could not be read, and stay as they were: %v", source, err)}
		}
		r.config.Sources.CountGroupSync(source, err == nil)
		s.setProblems(source, problems)
		pause := sources[source]
		if s.empty[source] || err != nil {
			pause = min(pause, soonPause)
		}
		s.due[source] = time.Now().Add(pause)
	}
}

// groupsOf returns the table's groups of a source by their keys.
func (r *Router) groupsOf(source string) map[string]*store.ContactGroup {
	all := map[string]*store.ContactGroup{}
	for _, g := range r.config.Table.View().ContactGroups() {
		if g.Source == source {
			all[g.Key] = g
		}
	}
	return all
}

// removeForeignGroups removes the groups of sources that have none any more by the
// configuration.
func (r *Router) removeForeignGroups(sources map[string]time.Duration) error {
	var gone []*store.ContactGroup
	for _, g := range r.config.Table.View().ContactGroups() {
		if _, known := sources[g.Source]; !known {
			gone = append(gone, g)
		}
	}
	refused, err := r.proposeGroups(removals(gone))
	if err == nil && len(refused) > 0 {
		err = errors.New(refused[0])
	}
	return err
}

// syncGroups reads the groups of a source, and changes the table accordingly.
func (r *Router) syncGroups(source string) (problems []string, err error) {
	found, err := r.config.Sources.FindGroups(r.ctx, source)
	if err != nil {
		return nil, err
	}
	missing, problems := r.groupsOf(source), found.Problems
	total := len(missing)
	var changes []*storev1.Change
	for _, g := range found.Groups {
		group, ok := r.contactGroup(source, g)
		if !ok {
			problems = append(problems, fmt.Sprintf("the group %s (%s) has too many addresses: at most %d", protocol.Quote(g.Name), g.Key, protocol.MaxGroupMembers))
			continue
		}
		if old := missing[group.Key]; old == nil || *old != *group {
			changes = append(changes, &storev1.Change{Kind: &storev1.Change_PutContactGroup{PutContactGroup: &storev1.PutContactGroup{Group: group.Proto()}}})
		}
		delete(missing, group.Key)
	}
	wasEmpty := r.groupSync.empty[source]
	r.groupSync.empty[source] = len(found.Groups) == 0 && total > 0
	switch {
	case r.groupSync.empty[source] && !wasEmpty: // once is not enough
		return append(problems, fmt.Sprintf("the account source %s has no groups any more; if it has none the next time either, they are removed", source)), nil
	case len(missing) > max(fewGroups, total*found.MaxLeavers/100):
		problems = append(problems, fmt.Sprintf("%d of the %d groups of the account source %s are missing there, so none of them is removed: look at groups_base and groups_filter, or raise max_leavers", len(missing), total, source))
	default:
		gone := slices.SortedFunc(maps.Values(missing), func(a, b *store.ContactGroup) int { return strings.Compare(a.Key, b.Key) })
		changes = append(removals(gone), changes...) // first, as there may be room for no more
	}
	for _, p := range problems {
		r.config.Logger.Warn("the groups of a source are not all as they should be", "source", source, "problem", p)
	}
	refused, err := r.proposeGroups(changes)
	if err != nil {
		return problems, err
	}
	return append(problems, r.describeRefused(source, refused)...), nil
}

// describeRefused returns and logs a sentence about groups that the table refused,
// if there are any. The others are as in the directory.
func (r *Router) describeRefused(source string, refused []string) []string {
	if len(refused) == 0 {
		return nil
	}
	problem := fmt.Sprintf("%d groups of the account source %s were refused: %s", len(refused), source, refused[0])
	r.config.Logger.Warn("the groups of a source are not all as they should be", "source", source, "problem", problem)
	return []string{problem}
}

// contactGroup returns a group of a directory as the table has it; false if nobody
// is left in it whom the table takes.
func (r *Router) contactGroup(source string, g accounts.Group) (*store.ContactGroup, bool) {
	names := map[string]string{}
	for _, m := range g.Members {
		for _, a := range r.shownAddresses(m.Addresses) {
			names[a.String()] = m.Name
		}
	}
	p := &storev1.ContactGroup{Source: source, Key: g.Key, Name: g.Name}
	for _, a := range slices.Sorted(maps.Keys(names)) {
		p.Member = append(p.Member, &storev1.GroupMember{Address: a, Name: names[a]})
	}
	return store.ParseContactGroup(p)
}

// shownAddresses returns which addresses of one entry of a directory are contacts:
// those with an account, and otherwise the first.
func (r *Router) shownAddresses(all []protocol.Address) []protocol.Address {
	var used []protocol.Address
	for _, a := range all {
		if _, known := r.config.Table.Account(a); known {
			used = append(used, a)
		}
	}
	if len(used) == 0 && len(all) > 0 {
		used = []protocol.Address{slices.MinFunc(all, protocol.Address.Compare)}
	}
	return used
}

// removals returns the changes that remove these groups.
func removals(gone []*store.ContactGroup) (changes []*storev1.Change) {
	for _, g := range gone {
		changes = append(changes, &storev1.Change{Kind: &storev1.Change_RemoveContactGroup{RemoveContactGroup: &storev1.RemoveContactGroup{Source: g.Source, Key: g.Key}}})
	}
	return changes
}

// proposeGroups proposes changes of groups, some at a time. It returns why some were
// refused, after all others have been made.
func (r *Router) proposeGroups(changes []*storev1.Change) (refused []string, err error) {
	for len(changes) > 0 {
		n, octets := 0, 0
		for n < len(changes) && (n == 0 || octets < groupBatch) {
			octets += proto.Size(changes[n])
			n++
		}
		ctx, cancel := context.WithTimeout(r.ctx, protocol.RequestTimeout)
		results, err := r.directory.Propose(ctx, changes[:n]...)
		cancel()
		if err != nil {
			return refused, fmt.Errorf("the site did not take the change: %w", err)
		}
		for _, res := range results {
			if res.Refusal != store.None {
				refused = append(refused, refusalText(res))
			}
		}
		changes = changes[n:]
	}
	return refused, nil
}
