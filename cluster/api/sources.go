package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	sources "simpd/cluster/accounts"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// CheckSources explains what becomes of a user's login.
func (s *accountService) CheckSources(ctx context.Context, r *simpv1.CheckSourcesRequest) (*simpv1.CheckSourcesResponse, error) {
	f := &fields{domains: s.Domains}
	user := f.localUser("ima", r.Ima)
	if err := f.err(); err != nil {
		return nil, err
	}
	if err := s.inTouch(false); err != nil {
		return nil, err
	}
	table, owner, locked := s.explainTable(user)
	all := []sources.Explanation{table}
	all[0].Asked = true
	if s.Sources != nil {
		all = s.Sources.Explain(ctx, user, owner, table)
	}
	resp := &simpv1.CheckSourcesResponse{}
	for _, e := range all {
		resp.Source = append(resp.Source, sourceCheck(&e))
	}
	resp.Accepted, resp.Summary = summarizeSources(user, owner, all)
	if locked {
		resp.Accepted, resp.Summary = false, fmt.Sprintf("%s can't log in: an operator has disabled the account", user)
	}
	return resp, nil
}

// explainTable says what the table has of a user: whether the account belongs to
// another source, and whether an operator has disabled it.
func (s *accountService) explainTable(user protocol.Address) (e sources.Explanation, owner string, locked bool) {
	e = sources.Explanation{Source: sources.Table, Type: sources.Table}
	step := func(ok bool, text string) { e.Steps = append(e.Steps, sources.Step{OK: ok, Text: text}) }
	a, ok := s.Table.Account(user)
	switch {
	case !ok:
		step(true, "there is no account")
		return e, "", false
	case a.Source() == store.CertificateSource:
		step(true, "the account was made by a client certificate and has no password; a source that accepts the user takes it over")
	case a.Source() != "":
		owner = a.Source()
		step(true, "the account belongs to the source "+owner)
	default:
		e.Verdict = sources.Accepted
		step(true, "the account has a password of its own")
	}
	if n := len(a.AppPasswords()); n > 0 {
		step(true, fmt.Sprintf("it has %d app passwords, which are checked here", n))
	}
	switch {
	case a.HasLeftSource():
		step(true, "the account is disabled because it had left its source; the next login that the source accepts enables it")
	case a.Disabled:
		e.Verdict, locked = sources.Rejected, true
		step(false, "an operator has disabled the account")
	}
	return e, owner, locked
}

// summarizeSources says what becomes of a login with the right password.
func summarizeSources(user protocol.Address, owner string, all []sources.Explanation) (accepted bool, summary string) {
	if owner != "" && !slices.ContainsFunc(all, func(e sources.Explanation) bool { return e.Source == owner }) {
		return false, fmt.Sprintf("%s can't log in: the account belongs to the source %s, which the domain does not have", user, owner)
	}
	for _, e := range all {
		switch {
		case !e.Asked:
			continue
		case e.Failed:
			return false, fmt.Sprintf("%s can't log in now: %s can't be asked", user, e.Source)
		case e.Verdict == sources.Accepted:
			return true, fmt.Sprintf("%s can log in with the password of %s", user, e.Source)
		case e.Verdict == sources.Rejected:
			return false, fmt.Sprintf("%s can't log in: %s knows the user and does not admit it", user, e.Source)
		}
	}
	return false, fmt.Sprintf("%s can't log in: no source knows the user", user)
}

func sourceCheck(e *sources.Explanation) *simpv1.SourceCheck {
	c := &simpv1.SourceCheck{Name: e.Source, Type: e.Type}
	for _, s := range e.Steps {
		c.Step = append(c.Step, &simpv1.SourceStep{Text: strings.ToValidUTF8(s.Text, "\uFFFD"), Ok: s.OK})
	}
	switch {
	case !e.Asked || e.Failed:
	case e.Verdict == sources.Unknown:
		c.Verdict = simpv1.SourceVerdict_SOURCE_VERDICT_UNKNOWN
	case e.Verdict == sources.Accepted:
		c.Verdict = simpv1.SourceVerdict_SOURCE_VERDICT_ACCEPTED
	case e.Verdict == sources.Rejected:
		c.Verdict = simpv1.SourceVerdict_SOURCE_VERDICT_REJECTED
	}
	return c
}
