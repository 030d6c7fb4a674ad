package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// errNotSearched is the error where there is no base.
var errNotSearched = errors.New("the directory is not searched: base is not set")

// Searches reports whether entries are looked for.
func (s *Source) Searches() bool { return s.config.Base != "" }

// RejectsUnknown reports whether users bind without being looked for.
func (s *Source) RejectsUnknown() bool { return s.config.BindTemplate != "" }

// MaxLeavers returns Config.MaxLeavers.
func (s *Source) MaxLeavers() int { return s.config.MaxLeavers }

// FindUsers returns what the directory has of each user.
func (s *Source) FindUsers(ctx context.Context, users []protocol.Address) (map[protocol.Address]accounts.UserState, error) {
	if s.config.Base == "" {
		return nil, errNotSearched
	}
	all := make(map[protocol.Address]accounts.UserState, len(users))
	for batch := range slices.Chunk(users, accounts.MaxFound) {
		err := s.askServers(ctx, func(ctx context.Context, p *pool) error { return s.findBatch(ctx, p, batch, all) })
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *Source) findBatch(ctx context.Context, p *pool, users []protocol.Address, all map[protocol.Address]accounts.UserState) error {
	var filters strings.Builder
	for _, user := range users {
		all[user] = accounts.UserMissing
		filter, _ := s.config.Address.filter(user)
		filters.WriteString(filter)
	}
	if filters.Len() == 0 {
		return nil
	}
	entries, err := s.search(ctx, p, "(|"+filters.String()+")", 0)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, e := range entries {
		state := accounts.UserActive
		if disabledReason(e, now) != "" {
			state = accounts.UserDisabled
		}
		for _, a := range s.config.Address.addresses(e) {
			if _, asked := all[a]; asked && all[a] != accounts.UserActive {
				all[a] = state
			}
		}
	}
	return nil
}

// Explain asks each server about a user, and says what it finds.
func (s *Source) Explain(ctx context.Context, user protocol.Address) (steps []accounts.Step, verdict accounts.Verdict, err error) {
	add := func(ok bool, format string, args ...any) {
		steps = append(steps, accounts.Step{OK: ok, Text: fmt.Sprintf(format, args...)})
	}
	if s.config.BindTemplate != "" {
		add(true, "the user binds as %s", fillTemplate(s.config.BindTemplate, user))
		checks, err := s.checkServers(ctx)
		return append(steps, checks...), accounts.Accepted, err
	}
	filter, ok := s.config.Address.filter(user)
	if !ok {
		add(true, "addresses of this source are in the domain %s", s.config.Address.domain)
		return steps, accounts.Unknown, nil
	}
	err = errNoAnswer
	add(true, "searching below %s with (&%s%s)", s.config.Base, s.config.Filter, filter)
	for _, p := range s.pools {
		found, failure := s.findWithin(ctx, p, user)
		if failure != nil {
			add(false, "%s: %v", p.name, plainError(failure))
			continue
		}
		if err != nil { // the first that answers decides
			verdict, err = found.verdict, nil
		}
		steps = append(steps, found.explain(p.name)...)
	}
	return steps, verdict, err
}

var errNoAnswer = errors.New("no server answers")

// explainTime limits the time to ask each server for an explanation.
const explainTime = protocol.SourceTimeout

func (s *Source) findWithin(ctx context.Context, p *pool, user protocol.Address) (foundUser, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTime)
	defer cancel()
	return s.findUser(ctx, p, user)
}

// explain says what a server has found.
func (f *foundUser) explain(server string) (steps []accounts.Step) {
	add := func(ok bool, format string, args ...any) {
		steps = append(steps, accounts.Step{OK: ok, Text: server + ": " + fmt.Sprintf(format, args...)})
	}
	switch {
	case f.dn == "":
		add(true, "no entry has this address")
		return steps
	case len(f.others) > 0:
		add(false, "%s, and so none of them can log in: %s and %s", f.why, f.dn, strings.Join(f.others, " and "))
		return steps
	}
	add(true, "the entry is %s", f.dn)
	if f.why != "" {
		add(false, "%s", f.why)
	}
	return steps
}

// checkServers connects to each server.
func (s *Source) checkServers(ctx context.Context) (steps []accounts.Step, err error) {
	err = errNoAnswer
	for _, p := range s.pools {
		ctx, cancel := context.WithTimeout(ctx, explainTime)
		c, failure := p.connect(ctx, binding)
		cancel()
		if failure != nil {
			steps = append(steps, accounts.Step{Text: fmt.Sprintf("%s: %v", p.name, plainError(failure))})
			continue
		}
		err = nil
		p.giveBack(c)
		steps = append(steps, accounts.Step{OK: true, Text: p.name + " answers"})
	}
	return steps, err
}
