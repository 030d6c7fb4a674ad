package router

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/store"
)

// orphanMemory is for how long the count of orphans is not repeated unless the
// sources change: it looks at all accounts.
const orphanMemory = time.Minute

// orphans are the accounts whose source their domain does not have, because it
// was renamed or removed in the accounts file. Nobody can check their passwords.
type orphans struct {
	mu       sync.Mutex
	counted  time.Time
	sources  uint64 // the version of the sources, when they were counted
	problems []string
}

// orphanKey is what orphans have in common.
type orphanKey struct{ source, domain string }

// orphanProblems returns a sentence for each source of orphans, if this node
// leads: one node says it.
func (r *Router) orphanProblems() []string {
	if r.config.Leads == nil || !r.config.Leads() || !r.config.Table.HasSources() {
		return nil
	}
	r.orphans.mu.Lock()
	defer r.orphans.mu.Unlock()
	version := r.config.Sources.Version()
	if now := time.Now(); now.Sub(r.orphans.counted) >= orphanMemory || r.orphans.sources != version {
		r.orphans.problems, r.orphans.counted, r.orphans.sources = r.countOrphans(), now, version
	}
	return r.orphans.problems
}

func (r *Router) countOrphans() (problems []string) {
	counts := map[orphanKey]int{}
	r.config.Table.View().Accounts(protocol.Address{}, func(a *store.Account) bool {
		source := a.Source()
		if source != "" && source != store.CertificateSource && !a.Disabled && !r.config.Sources.HasSource(a.Address.Domain(), source) {
			counts[orphanKey{source, a.Address.Domain()}]++
		}
		return true
	})
	order := func(a, b orphanKey) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.domain, b.domain))
	}
	for _, k := range slices.SortedFunc(maps.Keys(counts), order) {
		problems = append(problems, fmt.Sprintf("accounts of %s belong to the account source %s, which the accounts file does not name for that domain (any more): %d. Their users get 503 for their passwords. "+
			"Name the source again, under this name; or delete the accounts (simpctl account list shows their source), with their rules and contacts", k.domain, k.source, counts[k]))
	}
	return problems
}
