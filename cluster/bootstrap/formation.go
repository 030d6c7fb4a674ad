package bootstrap

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

const (
	// formationGrace is for how long a node waits for a site before the log says
	// what for, and formationInterval how often it says so again.
	formationGrace    = 5 * time.Second
	formationInterval = time.Minute
	// copyGrace is for how long another process must be heard as this node until
	// this one, which has no data, gives way: what is left of a past process of
	// its own is gone by then. A node counts another process as running for at
	// most the link's silence timeout, 3 s, after it has last heard it, so a
	// machine that has fallen silent never stands in the way of its replacement.
	copyGrace = 5 * time.Second
)

// formation describes, for a node without data, the nodes with which it could
// form a site or whose site it could join.
type formation struct {
	id         string
	expect     int
	join       []string
	promised   []string                   // the nodes that it has agreed to form a site with
	others     []link.Member              // that gossip knows
	probes     []*clusterv1.ProbeResponse // of those that have answered
	unanswered map[string]error           // of those that have not
	failed     error                      // why it could not form the site
}

// String says what is missing, for people.
func (f *formation) String() string {
	if site, leader := f.site(); len(site) > 0 {
		if leader == "" {
			return fmt.Sprintf("waiting to be taken into the site of %s, which has no leader at present", strings.Join(site, ", "))
		}
		return fmt.Sprintf("waiting to be taken into the site by its leader %s, whose log says if something is in the way", leader)
	}
	said := "waiting to form a site: " + f.needs()
	if len(f.unanswered) > 0 {
		said += "; " + f.describeUnanswered()
	}
	return said
}

// site returns the other nodes that have data of a site, and its leader.
func (f *formation) site() (nodes []string, leader string) {
	for _, p := range f.probes {
		if p.HasState {
			nodes = append(nodes, p.Node)
			if p.Leader != "" {
				leader = p.Leader
			}
		}
	}
	return nodes, leader
}

// needs says which nodes are seen, what each expects, and what is missing.
func (f *formation) needs() string {
	switch {
	case f.expect == 0:
		return "bootstrap_expect is not set, so another node has to take this one in, and " + f.describeOthers()
	case f.expect == 1 && len(f.join) > 0:
		return "with bootstrap_expect 1 and join this node waits for a site that is there, and " + f.describeOthers() +
			"; to form one of this node alone, take join away; to form one together, give all nodes the same bootstrap_expect"
	case f.expect == 1:
		said := "with bootstrap_expect 1 this node forms a site of its own, and " + f.describeOthers()
		if f.failed != nil {
			said += "; " + f.failed.Error()
		}
		return said
	}
	agreeing := f.agreeing()
	said := fmt.Sprintf("%d nodes with bootstrap_expect %d are needed, and %s", f.expect, f.expect, f.describeOthers())
	switch missing := f.expect - len(agreeing); {
	case missing > 0 && f.hasOtherExpectations():
		said += "; give all nodes the same bootstrap_expect"
	case missing > 0:
		said += fmt.Sprintf("; %d more must be started, and reach this one or be reached from here (join)", missing)
	case f.failed != nil:
		said += "; " + f.failed.Error()
	case agreeing[0] != f.id:
		said += fmt.Sprintf("; %s is about to form it", agreeing[0])
	}
	if len(f.promised) > 0 {
		said += "; it has agreed to form it with " + strings.Join(f.promised, ", ")
	}
	return said
}

// agreeing returns the nodes that expect as many as this one, itself among them,
// in order.
func (f *formation) agreeing() []string {
	ids := []string{f.id}
	for _, m := range f.others {
		if m.BootstrapExpect == f.expect && !m.Replica {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (f *formation) hasOtherExpectations() bool {
	return slices.ContainsFunc(f.others, func(m link.Member) bool { return m.BootstrapExpect != f.expect })
}

// describeOthers says which nodes are seen, and what they expect.
func (f *formation) describeOthers() string {
	if len(f.others) == 0 {
		if len(f.join) == 0 {
			return "no other node has been found, as join is not set"
		}
		return "no other node has been found at " + strings.Join(f.join, ", ")
	}
	byExpect := map[int][]string{}
	var order []int
	for _, m := range f.others {
		if byExpect[m.BootstrapExpect] == nil {
			order = append(order, m.BootstrapExpect)
		}
		byExpect[m.BootstrapExpect] = append(byExpect[m.BootstrapExpect], m.ID)
	}
	var all []string
	for _, expect := range order {
		ids := byExpect[expect]
		verb := "expects"
		if len(ids) > 1 {
			verb = "expect"
		}
		number := fmt.Sprint(expect)
		if expect == 0 {
			number = "none"
		}
		all = append(all, strings.Join(ids, ", ")+" "+verb+" "+number)
	}
	return "of the others " + strings.Join(all, ", ")
}

// describeUnanswered names the nodes that gossip finds and that do not answer.
func (f *formation) describeUnanswered() string {
	var all []string
	for _, m := range f.others {
		if err := f.unanswered[m.ID]; err != nil {
			all = append(all, fmt.Sprintf("%s is found by gossip, and does not answer at %s (%v)", m.ID, m.ClusterAddr, err))
		}
	}
	return strings.Join(all, "; ")
}

// formationWatch keeps what a node without data waits for.
type formationWatch struct {
	mu     sync.Mutex
	waits  string    // what for; empty: it is not known yet, or it does not wait
	logged time.Time // when the log said so last
	copied time.Time // since when another process is heard as this node
}

func (w *formationWatch) reason() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waits
}

// set takes what the node waits for, and reports whether the log is to say so.
func (w *formationWatch) set(waits string, waited time.Duration, now time.Time) (due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waits = waits
	if waited < formationGrace || now.Sub(w.logged) < formationInterval {
		return false
	}
	w.logged = now
	return true
}

// observe has operators told what this node, which has no data, waits for.
func (b *Bootstrap) observe(p *probeRound, failed error) {
	f := &formation{
		id: b.config.NodeID, expect: b.config.Expect, join: b.config.Join, promised: b.config.Manifest.Get().InitialVoters,
		probes: p.answers, unanswered: p.unanswered, failed: failed,
	}
	for _, m := range b.config.Link.Members() {
		if m.ID != b.config.NodeID {
			f.others = append(f.others, m)
		}
	}
	now := time.Now()
	if waits := f.String(); b.formation.set(waits, now.Sub(b.config.Started), now) {
		b.config.Logger.Warn("this node is part of no site yet", "reason", waits)
	}
}

// anotherRuns returns the address of another process that runs as this node, as
// the other nodes say.
func (b *Bootstrap) anotherRuns(probes []*clusterv1.ProbeResponse) (addr string, runs bool) {
	for _, p := range probes {
		if p.RunningIncarnation != 0 && p.RunningIncarnation != b.config.Incarnation {
			return p.RunningAddr, true
		}
	}
	return "", false
}

// isCopied reports whether another process has been heard as this node for so
// long that it is none of its own past.
func (w *formationWatch) isCopied(runs bool, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !runs:
		w.copied = time.Time{}
	case w.copied.IsZero():
		w.copied = now
	}
	return runs && now.Sub(w.copied) >= copyGrace
}
