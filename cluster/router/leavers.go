package router

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"simpd/cluster/accounts"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

const (
	// leaverInterval is how often directories are asked about their accounts. Who
	// is missing twice in a row has left: so a leaver is out within 60 s.
	leaverInterval = 15 * time.Second
	// fewLeavers may leave a source at once, whatever their share is.
	fewLeavers = 10
	// leaverBatch is how many accounts are disabled with one proposal.
	leaverBatch = 128
)

// leavers are the accounts that were missing in their sources when these were
// last asked. Only the goroutine of watchLeavers uses missing.
type leavers struct {
	missing map[string]map[protocol.Address]bool // by source

	mu       sync.Mutex
	problems map[string]string // by source; why nobody is disabled
}

// watchLeavers disables accounts that have left their sources, while this node
// leads, until the router shuts down.
func (r *Router) watchLeavers() {
	r.leavers.missing = map[string]map[protocol.Address]bool{}
	tick := time.NewTicker(leaverInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.findLeavers()
		case <-r.ctx.Done():
			return
		}
	}
}

// findLeavers asks each directory about its accounts once.
func (r *Router) findLeavers() {
	directories := r.config.Sources.Directories()
	if len(directories) == 0 || !r.config.Leads() || !r.config.Table.HasSources() {
		clear(r.leavers.missing)
		r.leavers.setProblems(nil)
		return
	}
	users := r.usersBySource(directories)
	problems := map[string]string{}
	for source, percent := range directories {
		missing, failed, err := r.findMissing(source, users[source])
		if err != nil { // nobody among them has left
			problems[source] = fmt.Sprintf("%d of the %d accounts of the account source %s could not be looked up, so nobody knows whether they have left: %v", failed, len(users[source]), source, err)
			r.config.Logger.Warn("accounts of a source could not be looked up", "accounts", failed, "error", err)
		}
		switch {
		case len(missing) > max(fewLeavers, len(users[source])*percent/100):
			problems[source] = fmt.Sprintf("%d of the %d accounts of the account source %s are missing there, so none of them is disabled: look at base and filter, or raise max_leavers", len(missing), len(users[source]), source)
			delete(r.leavers.missing, source)
			r.config.Logger.Error("too many accounts have left a source at once", "source", source, "missing", len(missing), "accounts", len(users[source]))
			continue
		}
		r.disableLeavers(source, missing)
	}
	r.leavers.setProblems(problems)
}

// usersBySource returns the accounts of the sources that are not disabled.
func (r *Router) usersBySource(sources map[string]int) map[string][]protocol.Address {
	all := map[string][]protocol.Address{}
	r.config.Table.View().Accounts(protocol.Address{}, func(a *store.Account) bool {
		if _, asked := sources[a.Source()]; asked && !a.Disabled {
			all[a.Source()] = append(all[a.Source()], a.Address)
		}
		return true
	})
	return all
}

// findMissing returns the users whom a directory has not got, or has disabled,
// and how many could not be looked up, with the last error.
func (r *Router) findMissing(source string, users []protocol.Address) (missing map[protocol.Address]bool, failed int, err error) {
	missing = map[protocol.Address]bool{}
	for batch := range slices.Chunk(users, accounts.MaxFound) {
		found, failure := r.config.Sources.FindUsers(r.ctx, source, batch)
		if failure != nil {
			failed, err = failed+len(batch), failure
			continue
		}
		for _, user := range batch {
			if found[user] != accounts.UserActive {
				missing[user] = true
			}
		}
	}
	return missing, failed, err
}

// disableLeavers disables the accounts that were missing before too.
func (r *Router) disableLeavers(source string, missing map[protocol.Address]bool) {
	var left []protocol.Address
	for _, user := range slices.SortedFunc(maps.Keys(missing), protocol.Address.Compare) {
		if r.leavers.missing[source][user] {
			left = append(left, user)
		}
	}
	r.leavers.missing[source] = missing
	for batch := range slices.Chunk(left, leaverBatch) {
		results, err := r.proposeLeavers(source, batch)
		if err != nil {
			r.config.Logger.Warn("accounts that have left their source could not be disabled", "source", source, "error", err)
			return
		}
		for i, user := range batch {
			if results[i].Applied {
				r.config.Sources.CountLeavers(source, 1)
				r.config.Logger.Info("account disabled: it has left its source", "user", user, "source", source)
			}
		}
	}
}

func (r *Router) proposeLeavers(source string, users []protocol.Address) ([]store.Result, error) {
	changes := make([]*storev1.Change, len(users))
	for i, user := range users {
		changes[i] = &storev1.Change{Kind: &storev1.Change_LeaveSource{LeaveSource: &storev1.LeaveSource{Address: user.String(), Source: source}}}
	}
	ctx, cancel := context.WithTimeout(r.ctx, protocol.RequestTimeout)
	defer cancel()
	return r.directory.Propose(ctx, changes...)
}

func (l *leavers) setProblems(problems map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = problems
}

// SourceProblems returns a sentence for each account source that does not do as
// it should.
func (r *Router) SourceProblems() (all []string) {
	if r.config.Sources == nil {
		return nil
	}
	r.leavers.mu.Lock()
	defer r.leavers.mu.Unlock()
	for _, source := range slices.Sorted(maps.Keys(r.leavers.problems)) {
		all = append(all, r.leavers.problems[source])
	}
	all = append(all, r.groupSync.allProblems()...)
	all = append(all, r.config.Sources.Problems()...)
	return append(all, r.orphanProblems()...)
}
