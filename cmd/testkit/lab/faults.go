package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"simpd/cmd/testkit/site"
)

// recovery bounds how long a site may take to be whole again after a fault.
const recovery = 45 * time.Second

// injector makes one kind of fault and ends it.
type injector struct {
	kind string
	// begin makes the fault at random and returns the nodes that it strikes
	// (they may be late, or say nothing), and what ends it.
	begin func(l *lab) (nodes []int, note string, end func() error, err error)
	// least and most say how long it lasts.
	least, most time.Duration
	runs        bool // the nodes run on, and reach their clients
}

// alone reports whether the fault comes beside no other: a lost vote is more
// than three nodes bear beside it, and a lost disk takes others' ends away.
func (i injector) alone() bool {
	return i.kind == "damaged file" || strings.HasPrefix(i.kind, "power lost")
}

// loopbackFaults need no root.
func loopbackFaults() []injector {
	return []injector{
		{"kill -9", killOne, 0, 4 * time.Second, false},
		{"kill -9 of the leader", killLeader, 0, 4 * time.Second, false},
		{"kill -9 of all", killAll, 0, time.Second, false},
		{"SIGSTOP", stopOne, time.Second, 12 * time.Second, false},
		{"SIGSTOP of the leader", stopLeader, 500 * time.Millisecond, 8 * time.Second, false},
		{"starved", starve, 2 * time.Second, 10 * time.Second, false},
		{"leader transfer", transfer, 0, 0, false},
		{"SIGTERM", terminate, 0, time.Second, false},
	}
}

// conduct makes faults until the time is over; each ends before the next, but
// now and then two are made at once.
func (l *lab) conduct(length time.Duration) error {
	l.pauseFor(1500 * time.Millisecond)
	for end := l.clock.Now() + length; l.clock.Now() < end; {
		if err := l.strike(1 + l.intN(5)/4); err != nil {
			return err
		}
		l.pauseFor(time.Duration(500+l.intN(2500)) * time.Millisecond)
	}
	return nil
}

func (l *lab) pauseFor(d time.Duration) { <-time.After(d) }

// strike makes so many faults at once, ends them in the order in which they
// came or in the reverse, and waits until the site is whole again.
func (l *lab) strike(n int) error {
	var ends []func() error
	before, first := l.epochs(), len(l.history.Faults)
	for range n {
		i := l.faults[l.intN(len(l.faults))]
		if i.alone() && len(ends) > 0 {
			continue
		}
		end, err := l.inject(i)
		if err != nil {
			return fmt.Errorf("%s: %w", i.kind, err)
		}
		ends = append(ends, end)
		if i.alone() {
			break
		}
	}
	if len(ends) > 1 && l.intN(2) == 0 {
		ends[0], ends[1] = ends[1], ends[0]
	}
	for _, end := range ends {
		if err := end(); err != nil {
			return err
		}
	}
	err := l.whole()
	l.compare(before, l.history.Faults[first:])
	clear(l.struck)
	l.history.locked(func() {
		for i := first; i < len(l.history.Faults); i++ {
			l.history.Faults[i].End = l.clock.Now()
		}
	})
	return err
}

// inject makes a fault and returns what ends it, once its time has passed.
func (l *lab) inject(i injector) (func() error, error) {
	at := l.clock.Now()
	nodes, note, stop, err := i.begin(l)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		l.struck[n] = true
	}
	lasts := i.least + time.Duration(l.intN(int(i.most-i.least)+1))
	l.history.locked(func() {
		l.history.Faults = append(l.history.Faults, fault{Kind: i.kind, Nodes: nodes, Runs: i.runs, Begun: at, Note: note})
	})
	return func() error {
		l.pauseFor(lasts - (l.clock.Now() - at))
		return stop()
	}, nil
}

// whole waits until all nodes run, take clients and vote.
func (l *lab) whole() error {
	for _, n := range l.site.Nodes {
		if ended(n) && !l.struck[n.Number] {
			l.strange = append(l.strange, n.ID+" ended by itself: "+lastLine(n.Said()))
		}
	}
	for _, n := range l.site.Nodes {
		if err := l.up(n); err != nil {
			return fmt.Errorf("the site does not recover: %w", err)
		}
	}
	return l.allVote()
}

// up starts a node that does not run, and waits until it takes clients. One
// that a fault has struck may end as late as this.
func (l *lab) up(n *site.Node) (err error) {
	for range 3 {
		if ended(n) {
			if err := n.Begin(); err != nil {
				return err
			}
		}
		err = n.Ready(recovery)
		if !errors.Is(err, site.ErrEnded) || !l.struck[n.Number] {
			return err
		}
	}
	return fmt.Errorf("%w: %s", err, lastLine(n.Said()))
}

// allVote waits until every node has a vote again.
func (l *lab) allVote() error {
	limit := time.After(recovery)
	for {
		for _, n := range l.site.Nodes {
			if ended(n) {
				return fmt.Errorf("%s ended by itself: %s", n.ID, lastLine(n.Said()))
			}
		}
		if _, said := measures(l.site.Nodes[0]); strings.Contains(said, fmt.Sprintf("\nsimp_raft_voters %d\n", len(l.site.Nodes))) {
			return nil
		}
		select {
		case <-limit:
			return errors.New("not every node has got its vote back")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func ended(n *site.Node) bool {
	select {
	case <-n.Done():
		return true
	default:
		return false
	}
}

func (l *lab) someNode() *site.Node { return l.site.Nodes[l.intN(len(l.site.Nodes))] }

// leader returns the leader, or a random node if no node names one.
func (l *lab) leader() *site.Node {
	for _, n := range l.site.Nodes {
		if !ended(n) && l.leads(n) {
			return n
		}
	}
	return l.someNode()
}

func killOne(l *lab) ([]int, string, func() error, error)    { return kill(l.someNode()) }
func killLeader(l *lab) ([]int, string, func() error, error) { return kill(l.leader()) }

func kill(nodes ...*site.Node) ([]int, string, func() error, error) {
	for _, n := range nodes {
		n.Kill()
	}
	return numbers(nodes), "", func() error { return revive(nodes) }, nil
}

func killAll(l *lab) ([]int, string, func() error, error) { return kill(l.site.Nodes...) }

// revive starts those that do not run.
func revive(nodes []*site.Node) error {
	for _, n := range nodes {
		if ended(n) {
			if err := n.Begin(); err != nil {
				return err
			}
		}
	}
	return nil
}

func numbers(nodes []*site.Node) []int {
	var all []int
	for _, n := range nodes {
		all = append(all, n.Number)
	}
	return all
}

func stopOne(l *lab) ([]int, string, func() error, error)    { return stop(l.someNode()) }
func stopLeader(l *lab) ([]int, string, func() error, error) { return stop(l.leader()) }

// stop pauses a process. One that has ended meanwhile needs nothing.
func stop(n *site.Node) ([]int, string, func() error, error) {
	_ = n.Signal(syscall.SIGSTOP)
	return []int{n.Number}, "", func() error {
		_ = n.Signal(syscall.SIGCONT)
		return nil
	}, nil
}

// starve leaves a process a fifth of the time, in small pieces.
func starve(l *lab) ([]int, string, func() error, error) {
	n, over, ended := l.someNode(), make(chan struct{}), make(chan struct{})
	process := n.Program
	go func() {
		defer close(ended)
		for !closed(over) {
			_ = process.Signal(syscall.SIGSTOP)
			l.pauseFor(40 * time.Millisecond)
			_ = process.Signal(syscall.SIGCONT)
			l.pauseFor(10 * time.Millisecond)
		}
	}()
	return []int{n.Number}, "", func() error {
		close(over)
		<-ended
		return nil
	}, nil
}

// lastLine is why a process ended: what it said last, or why it crashed.
func lastLine(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "panic:") || strings.HasPrefix(l, "fatal error:") {
			return l
		}
	}
	return lines[len(lines)-1]
}

// leads asks a node whether it leads.
func (l *lab) leads(n *site.Node) bool {
	if l.struck[n.Number] {
		return false
	}
	ok, said := measures(n)
	return ok && strings.Contains(said, "\nsimp_raft_leader 1\n")
}

// measures are a node's metrics.
func measures(n *site.Node) (ok bool, said string) {
	c := http.Client{Timeout: 3 * time.Second}
	defer c.CloseIdleConnections()
	answer, err := c.Get("http://" + n.HTTP + "/metrics")
	if err != nil {
		return false, ""
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return err == nil, string(b)
}

// transfer has an operator name another leader; it may fail while another
// fault is on.
func transfer(l *lab) ([]int, string, func() error, error) {
	to, at := l.someNode(), l.someNode()
	if l.struck[at.Number] {
		return nil, "", func() error { return nil }, nil
	}
	_, said, err := l.site.Simpctl(at, "leader", "transfer", to.ID)
	return nil, said, func() error { return nil }, err
}

// terminate stops a node in good order and starts it again.
func terminate(l *lab) ([]int, string, func() error, error) {
	n := l.someNode()
	process := n.Program // another fault may have ended it, and started a new one
	_ = process.Signal(syscall.SIGTERM)
	return []int{n.Number}, "", func() error {
		_ = process.Signal(syscall.SIGCONT) // or stopped it
		_, err := process.Ended(40 * time.Second)
		if err != nil {
			return err
		}
		return revive([]*site.Node{n})
	}, nil
}
