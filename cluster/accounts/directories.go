package accounts

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"simpd/protocol"
)

// Directories returns the names of the sources that can be asked about users who
// do not log in, and how many percent of its accounts may leave each at once.
func (r *Registry) Directories() map[string]int {
	all := map[string]int{}
	for name, m := range r.current.Load().members {
		if d, ok := m.source.(Directory); ok && d.Searches() {
			all[name] = d.MaxLeavers()
		}
	}
	return all
}

// findTime limits the time to ask a directory about users.
const findTime = 10 * time.Second

// FindUsers asks a directory about users, at most MaxFound at once, as one of
// the queries that may be in flight to it.
func (r *Registry) FindUsers(ctx context.Context, source string, users []protocol.Address) (map[protocol.Address]UserState, error) {
	m := r.current.Load().members[source]
	if m == nil {
		return nil, &UnavailableError{Source: source, Err: errNoSource}
	}
	d, ok := m.source.(Directory)
	if !ok {
		return nil, &UnavailableError{Source: source, Err: errNoSource}
	}
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return nil, m.unavailable(fmt.Errorf("%d queries are in flight already", maxInFlight))
	}
	found, err := d.FindUsers(ctx, users)
	if err != nil {
		return nil, m.unavailable(err)
	}
	return found, nil
}

// HasUser reports whether a directory of the user's domain has the user,
// disabled ones too. Sources that can't be asked about users who do not log in
// are left out. An error means that a directory can't be asked now.
func (r *Registry) HasUser(ctx context.Context, user protocol.Address) (bool, error) {
	for _, m := range r.current.Load().domains[user.Domain()] {
		if m.isTable() {
			continue
		}
		if d, ok := m.source.(Directory); !ok || !d.Searches() {
			continue
		}
		found, err := r.FindUsers(ctx, m.name, []protocol.Address{user})
		if err != nil || found[user] != UserMissing {
			return err == nil, err
		}
	}
	return false, nil
}

// MaxFound limits the users of one call of FindUsers.
const MaxFound = 100

// CountLeavers counts accounts that have left a source.
func (r *Registry) CountLeavers(source string, n int) {
	if m := r.current.Load().members[source]; m != nil {
		m.metrics.Left.Add(uint64(n))
	}
}

// Explanation holds the answer of one source about a user.
type Explanation struct {
	Source, Type string
	Steps        []Step
	Verdict      Verdict // on a login with the right password
	Asked        bool    // false: a source before it decides
	Failed       bool    // it can't be asked now
}

// Explain asks the sources of the user's domain about a user who does not log
// in. table says what the site's own table has of the user, and owner is the
// source that the account belongs to.
func (r *Registry) Explain(ctx context.Context, user protocol.Address, owner string, table Explanation) (all []Explanation) {
	decided := false
	for _, m := range r.current.Load().domains[user.Domain()] {
		e := Explanation{Source: m.name, Type: Table}
		switch {
		case m.isTable():
			e = table
		default:
			e.Type = m.source.Type()
		}
		switch {
		case owner != "" && m.name != owner:
			e.Verdict, e.Steps = Unknown, []Step{{OK: true, Text: "not asked: the account belongs to " + owner}}
		case decided:
			e.Steps = []Step{{OK: true, Text: "not asked: a source before it decides"}}
		case m.isTable():
			e.Asked = true
		default:
			e.Asked = true
			m.explain(ctx, user, &e)
		}
		decided = decided || e.Asked && (e.Verdict != Unknown || e.Failed)
		all = append(all, e)
	}
	return all
}

func (m *member) explain(ctx context.Context, user protocol.Address, e *Explanation) {
	x, ok := m.source.(Explainer)
	if !ok {
		e.Steps = []Step{{OK: true, Text: "it can't be asked without a login"}}
		return
	}
	var err error
	e.Steps, e.Verdict, err = x.Explain(ctx, user)
	e.Failed = err != nil
}

// Problems returns a sentence for each thing that keeps sources from being
// asked.
func (r *Registry) Problems() (all []string) {
	failing := map[string][]string{}
	working := map[string]bool{}
	for _, s := range r.Servers() {
		if s.Failing {
			failing[s.Source] = append(failing[s.Source], s.Server)
		} else {
			working[s.Source] = true
		}
	}
	for _, source := range slices.Sorted(maps.Keys(failing)) {
		effect := "its users can't log in"
		if working[source] {
			effect = "its other servers are asked"
		}
		for _, server := range failing[source] {
			all = append(all, fmt.Sprintf("the account source %s: %s fails; %s", source, server, effect))
		}
	}
	return all
}
