package accounts

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"simpd/protocol/histogram"
)

// Metrics counts what a source was asked. Any goroutine may read it at any
// time.
type Metrics struct {
	Name, Type  string
	Verdicts    [maxVerdict]atomic.Uint64 // queries that were answered
	Unavailable atomic.Uint64             // queries that were not
	Merged      atomic.Uint64             // logins that shared the query of others
	Remembered  atomic.Uint64             // logins that a rejection of the last seconds answered
	Left        atomic.Uint64             // accounts that have left it, as this node found out
	GroupsRead  atomic.Uint64             // times that this node has read its groups
	// GroupsFailed counts the times that its groups could not be read, or not be
	// taken over.
	GroupsFailed atomic.Uint64
	InFlight     atomic.Int64
	Duration     histogram.Durations // of queries
}

// metricsBySource keeps the metrics of each source over reloads.
type metricsBySource struct {
	mu     sync.Mutex
	byName map[string]*Metrics
}

func (m *metricsBySource) of(name, kind string) *Metrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName == nil {
		m.byName = map[string]*Metrics{}
	}
	found := m.byName[name]
	if found == nil || found.Type != kind {
		found = &Metrics{Name: name, Type: kind}
		m.byName[name] = found
	}
	return found
}

// Metrics returns the metrics of all sources that are in use, in the order of
// their names.
func (r *Registry) Metrics() (all []*Metrics) {
	members := r.current.Load().members
	for _, name := range slices.Sorted(maps.Keys(members)) {
		all = append(all, members[name].metrics)
	}
	return all
}

// ServerStatus says how a server of a source does.
type ServerStatus struct {
	Source, Server string
	Failing        bool // it is not asked for a while because it has failed
}

// Monitored is implemented by sources that know the state of their servers.
type Monitored interface {
	// Servers returns the names of the servers, and whether each is failing.
	Servers() map[string]bool
}

// Servers returns the state of the servers of all sources.
func (r *Registry) Servers() (all []ServerStatus) {
	members := r.current.Load().members
	for _, name := range slices.Sorted(maps.Keys(members)) {
		monitored, ok := members[name].source.(Monitored)
		if !ok {
			continue
		}
		servers := monitored.Servers()
		for _, server := range slices.Sorted(maps.Keys(servers)) {
			all = append(all, ServerStatus{name, server, servers[server]})
		}
	}
	return all
}
