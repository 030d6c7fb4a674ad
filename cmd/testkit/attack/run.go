package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"simpd/cmd/internal/cli"
)

const (
	warmUp     = 13 * time.Second // until all are logged in, and no notice of theirs is due
	leastQuiet = 20 * time.Second // that honest users are measured for, before and after
	settleTime = 3 * time.Minute  // that memory may take to go back
)

// run measures before, during and after the attacks.
func (l *lab) run() (*report, error) {
	if err := l.start(); err != nil {
		return nil, err
	}
	h := l.startHonest()
	defer h.stop()
	quiet := l.quietTime()
	l.phase("warming up", h, warmUp)
	r := &report{attacks: l.attacks, users: l.users}
	r.before = l.phase("before", h, quiet)
	r.before.history = l.historyMemory()
	file, err := l.ground.write(l.dir)
	if err != nil {
		return nil, err
	}
	if len(l.attacks) > 0 {
		if l.attackers, err = startAttackers(file, l.only); err != nil {
			return nil, err
		}
	}
	r.during = l.phase("during", h, l.length)
	if l.attackers != nil {
		r.counts = l.attackers.stop()
	}
	r.after = l.phase("after", h, quiet)
	r.after.history = l.historyMemory()
	l.awaitMemory(r, h)
	r.died = l.died()
	return r, nil
}

// quietTime returns how long honest users are measured without attacks.
func (l *lab) quietTime() time.Duration {
	if l.quiet != 0 {
		return l.quiet
	}
	return max(leastQuiet, l.length/10)
}

// phase is a part of the run: what the honest users met, and the nodes' memory.
type phase struct {
	name   string
	lasted time.Duration
	served map[string]*served
	peak   []int // resident, of each node, in KiB: the highest
	mean   []int
	// anonymous is the mean of each node's resident memory that is not of mapped
	// files, in KiB. The kernel takes back the pages of files, such as the log's,
	// whenever somebody needs memory.
	anonymous []int
	// history is the memory of each node's newest changes at the end, in KiB,
	// which is kept on purpose and has a limit of its own.
	history []int
	busy    []float64 // processors that each node used, on average, then the honest users, and then the attackers
}

func (l *lab) phase(name string, h *honest, lasts time.Duration) phase {
	p := phase{name: name, peak: make([]int, nodes), mean: make([]int, nodes), anonymous: make([]int, nodes)}
	h.cut()
	used := l.used()
	every := time.NewTicker(time.Second)
	defer every.Stop()
	samples, begun := 0, l.clock.Now()
	for end := begun + lasts; l.clock.Now() < end && len(l.died()) == 0; samples++ {
		<-every.C
		for i, n := range l.site.Nodes {
			rss := procKiB(n.Process.Pid, "VmRSS")
			p.peak[i], p.mean[i] = max(p.peak[i], rss), p.mean[i]+rss
			p.anonymous[i] += procKiB(n.Process.Pid, "RssAnon")
		}
	}
	for i := range p.mean {
		p.mean[i] /= max(1, samples)
		p.anonymous[i] /= max(1, samples)
	}
	p.served, p.lasted = h.cut(), l.clock.Now()-begun
	for i, now := range l.used() {
		p.busy = append(p.busy, max(0, now-used[i]).Seconds()/p.lasted.Seconds())
	}
	fmt.Fprintf(cli.NewEscaper(os.Stdout), "%s: %s\n", name, p.costs())
	return p
}

// used returns the processor time of each process, in the order of busy.
func (l *lab) used() (all []time.Duration) {
	for _, n := range l.site.Nodes {
		all = append(all, procTime(n.Process.Pid))
	}
	attacking := time.Duration(0)
	if l.attackers != nil {
		attacking = procTime(l.attackers.cmd.Process.Pid)
	}
	return append(all, procTime(os.Getpid()), attacking)
}

// awaitMemory waits until the nodes hold as much as before, or the time for
// that is over.
func (l *lab) awaitMemory(r *report, h *honest) {
	begun := l.clock.Now()
	for l.clock.Now()-begun < settleTime && len(l.died()) == 0 && len(r.swollen()) > 0 {
		p := l.phase("after", h, 10*time.Second)
		r.after.mean, r.after.peak, r.after.anonymous = p.mean, p.peak, p.anonymous
	}
	r.settled = l.clock.Now() - begun
}

// historyMemory returns what each node says of its newest changes, in KiB.
func (l *lab) historyMemory() (all []int) {
	c := http.Client{Timeout: 10 * time.Second}
	defer c.CloseIdleConnections()
	for _, n := range l.site.Nodes {
		octets := 0.0
		if answer, err := c.Get("http://" + n.HTTP + "/metrics"); err == nil {
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			_, rest, _ := strings.Cut(string(text), "\nsimp_history_octets ")
			line, _, _ := strings.Cut(rest, "\n")
			octets, _ = strconv.ParseFloat(line, 64)
		}
		all = append(all, int(octets)>>10)
	}
	return all
}
