package main

import (
	"crypto/x509"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"simpd/cluster/accounts"
	"simpd/protocol/histogram"
	"simpd/protocol/secretfile"
)

// setSources has the node ask these account sources from now on; nil: only the
// table. Those that have not changed go on as they are.
func (n *node) setSources(f *accountsFile) error {
	if f == nil {
		f = &accountsFile{}
	}
	set, err := f.newSet(sourceEnv{logger: n.logger, askSite: n.askSiteForKeys}, n.accounts.Load())
	if err != nil {
		return err
	}
	n.sources.Replace(set)
	n.accounts.Store(f)
	return nil
}

// accountsSetting is the accounts file, which has to be the same on all nodes.
func (n *node) accountsSetting() agreed {
	f := n.accounts.Load()
	a := agreed{name: "accounts_file", shown: "none"}
	if f != nil && len(f.content) > 0 {
		a.values, a.shown = f.content, f.describe()
	}
	return a
}

// describe says which sources the domains have.
func (f *accountsFile) describe() string {
	var all []string
	for _, domain := range slices.Sorted(maps.Keys(f.domains)) {
		all = append(all, domain+": "+strings.Join(f.domains[domain], ", "))
	}
	return strings.Join(all, "; ")
}

// sourceMeasures are of the account sources.
func sourceMeasures() []measure {
	counter := func(name, help string, read func(*accounts.Metrics) uint64) measure {
		m := labelledMeasure(name, help, "source", func(n *node, emit emitter) {
			for _, s := range n.sources.Metrics() {
				emit(float64(read(s)), s.Name)
			}
		})
		return m
	}
	inFlight := counter("simp_source_queries_in_flight", "Queries to an account source that are not answered yet.", func(s *accounts.Metrics) uint64 { return uint64(max(s.InFlight.Load(), 0)) })
	inFlight.kind = prometheus.GaugeValue
	return []measure{
		{name: "simp_source_queries_total", help: "Queries to an account source about a login, by what it said; unavailable: it said nothing.",
			kind: prometheus.CounterValue, labels: []string{"source", "result"}, read: emitVerdicts},
		{name: "simp_source_query_duration_seconds", help: "Duration of queries to an account source.", labels: []string{"source"}, durationsBy: emitQueryDurations},
		inFlight,
		counter("simp_source_merged_total", "Logins that shared a query to an account source with others.", func(s *accounts.Metrics) uint64 { return s.Merged.Load() }),
		counter("simp_source_remembered_total", "Logins that were rejected because an account source had rejected the same a moment before.", func(s *accounts.Metrics) uint64 { return s.Remembered.Load() }),
		counter("simp_source_leavers_total", "Accounts that this node has disabled because they had left their account source.", func(s *accounts.Metrics) uint64 { return s.Left.Load() }),
		counter("simp_source_group_reads_total", "Times that this node has read the groups of an account source, to take them over.", func(s *accounts.Metrics) uint64 { return s.GroupsRead.Load() }),
		counter("simp_source_group_failures_total", "Times that this node could not read the groups of an account source, or not take them over.", func(s *accounts.Metrics) uint64 { return s.GroupsFailed.Load() }),
		{name: "simp_source_server_failing", help: "1 if a server of an account source has failed, so that queries go to others; otherwise 0.",
			kind: prometheus.GaugeValue, labels: []string{"source", "server"}, read: emitServers},
	}
}

func emitVerdicts(n *node, emit emitter) {
	for _, s := range n.sources.Metrics() {
		for v := range s.Verdicts {
			emit(float64(s.Verdicts[v].Load()), s.Name, accounts.Verdict(v).String())
		}
		emit(float64(s.Unavailable.Load()), s.Name, "unavailable")
	}
}

func emitQueryDurations(n *node, emit func(*histogram.Durations, ...string)) {
	for _, s := range n.sources.Metrics() {
		emit(&s.Duration, s.Name)
	}
}

func emitServers(n *node, emit emitter) {
	for _, s := range n.sources.Servers() {
		emit(boolValue(s.Failing), s.Source, s.Server)
	}
}

const maxWarnings = 32

// warnings says what does not work as this node is configured.
func (n *node) warnings() (all []string) {
	if failure := n.reloaded.Load(); failure != nil {
		all = append(all, "the last reload failed, so what was in use before still is: "+*failure)
	}
	all = append(all, n.acmeProblems()...)
	all = append(all, n.feedProblems()...)
	for _, problem := range n.router.SourceProblems() {
		all = append(all, validText(problem))
	}
	all = append(all, n.policyWarning()...)
	if l := n.limits.Load(); l != nil {
		all = append(all, l.warnings()...)
	}
	return all[:min(len(all), maxWarnings)]
}

// userCASetting is the authority of users, which has to be the same on all
// nodes.
func (n *node) userCASetting() agreed {
	a := agreed{name: "user_ca", shown: "none"}
	if authorities := n.userCAs.Load(); authorities != nil {
		a.setCertificates(*authorities)
	}
	return a
}

// setUserCA has the node take users' certificates of these authorities.
func (n *node) setUserCA(authorities []*x509.Certificate) {
	n.userCAs.Store(&authorities)
	n.userRoots.Store(secretfile.Roots(authorities))
}
