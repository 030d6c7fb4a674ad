package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/protocol"
)

// flock is the number of users on a node when it dies.
const flock = 100

// deaths measures what users see of the end of a node: each node in turn is
// killed so many times, and then each is paused once, and cut off from the
// others once where there is a network to do that in.
type deaths struct {
	*lab
	deaf, listened, silence []time.Duration // of kills
	paused, cut             []time.Duration // until all were deaf
}

// demise is a way in which a node ends.
type demise uint8

const (
	killed demise = iota
	paused
	cutAway
)

// measureDeaths prints what it measured, and fails where a goal is missed.
func measureDeaths(l *lab, times int, w io.Writer) error {
	d := &deaths{lab: l}
	if err := l.site.AddUsers(l.site.Nodes[0], d.names()...); err != nil {
		return err
	}
	for range times {
		for _, n := range l.site.Nodes {
			if err := d.one(n, killed); err != nil {
				return err
			}
		}
	}
	for _, n := range l.site.Nodes {
		if err := d.one(n, paused); err != nil {
			return err
		}
		if l.net == nil {
			continue
		}
		if err := d.one(n, cutAway); err != nil {
			return err
		}
	}
	return d.print(w)
}

func (d *deaths) names() []string {
	all := []string{"pitcher", "catcher", "late"}
	for i := range flock {
		all = append(all, fmt.Sprintf("sheep%d", i))
	}
	return all
}

func (d *deaths) print(w io.Writer) error {
	var missed []string
	for _, x := range []struct {
		what        string
		all         []time.Duration
		median, max time.Duration
	}{
		{"kill -9: until all watchers elsewhere saw all users deaf", d.deaf, 3 * time.Second, 3 * time.Second},
		{"kill -9: until a new LISTEN elsewhere was answered", d.listened, 1200 * time.Millisecond, 2 * time.Second},
		{"kill -9: the longest silence between two users elsewhere", d.silence, 300 * time.Millisecond, 300 * time.Millisecond},
		{"SIGSTOP: until all watchers elsewhere saw all users deaf", d.paused, 8 * time.Second, 8 * time.Second},
		{"cut off: until all watchers elsewhere saw all users deaf", d.cut, 8 * time.Second, 8 * time.Second},
	} {
		if len(x.all) == 0 {
			continue
		}
		slices.Sort(x.all)
		median, worst := x.all[len(x.all)/2], x.all[len(x.all)-1]
		fmt.Fprintf(w, "%s: median %.2f s, worst %.2f s of %d\n", x.what, median.Seconds(), worst.Seconds(), len(x.all))
		if median > x.median || worst > x.max {
			missed = append(missed, x.what)
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("missed: %s", strings.Join(missed, "; "))
	}
	return nil
}

// one has a node die, or stand still, under its users.
func (d *deaths) one(n *site.Node, how demise) error {
	var open []*conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	enter := func(node int, user string, heard func(*protocol.Line, []byte, time.Duration)) (*conn, error) {
		c, err := d.dial(node, user, heard)
		if err == nil {
			open = append(open, c)
		}
		return c, err
	}
	for i := range flock {
		c, err := enter(n.Number, fmt.Sprintf("sheep%d", i), nil)
		if err == nil {
			_, err = c.Ask("LISTEN", nil)
		}
		if err != nil {
			return err
		}
	}
	y, z := 1+n.Number%3, 1+(n.Number+1)%3
	watch := newFlockWatch(d.clock)
	for _, node := range []int{y, z} {
		if err := watch.begin(d.lab, node, enter); err != nil {
			return err
		}
	}
	return d.strikeOne(n, how, y, z, watch, enter)
}

type enterFunc func(node int, user string, heard func(*protocol.Line, []byte, time.Duration)) (*conn, error)

// strikeOne ends the node, and measures.
func (d *deaths) strikeOne(n *site.Node, how demise, y, z int, watch *flockWatch, enter enterFunc) error {
	late, err := enter(y, "late", nil)
	if err != nil {
		return err
	}
	stop, err := d.talk(y, z, enter)
	if err != nil {
		return err
	}
	at := d.clock.Now()
	revive, err := d.strikeDown(n, how)
	if err != nil {
		return err
	}
	a, err := late.Ask("LISTEN", nil)
	watched := watch.wait()
	silence := stop()
	if err := revive(); err != nil {
		return err
	}
	switch how {
	case killed:
		d.deaf, d.listened, d.silence = append(d.deaf, watched-at), append(d.listened, a.Back-a.Call), append(d.silence, silence)
	case paused:
		d.paused = append(d.paused, watched-at)
	case cutAway:
		d.cut = append(d.cut, watched-at)
	}
	if err != nil {
		return fmt.Errorf("LISTEN at %d after the end of %s: %w", y, n.ID, err)
	}
	if watched == 0 {
		return fmt.Errorf("not all users of %s are deaf", n.ID)
	}
	return d.whole()
}

// strikeDown ends a node in one way, and returns what ends that.
func (d *deaths) strikeDown(n *site.Node, how demise) (revive func() error, err error) {
	switch how {
	case paused:
		_, _, revive, err = stop(n)
	case cutAway:
		_, _, revive, err = d.isolate(n.Number, true, true, "")
	default:
		_, _, revive, err = kill(n)
	}
	return revive, err
}

// talk has two users talk until stopped, which returns the longest time
// without a delivery.
func (d *deaths) talk(y, z int, enter enterFunc) (stop func() time.Duration, err error) {
	var catcher *conn
	catcher, err = enter(z, "catcher", func(l *protocol.Line, _ []byte, _ time.Duration) {
		if l.Verb == "MESSAGE" {
			catcher.Say(l.Tag, "200")
		}
	})
	if err != nil {
		return nil, err
	}
	if _, err = catcher.Ask("LISTEN", nil); err != nil {
		return nil, err
	}
	pitcher, err := enter(y, "pitcher", nil)
	if err != nil {
		return nil, err
	}
	// The first message tells y where the catcher listens: after it they are
	// two who know one another.
	if _, err := pitcher.Ask("SEND to="+d.address("catcher"), []byte("\r\nhello")); err != nil {
		return nil, err
	}
	var over atomic.Bool
	var longest time.Duration
	var talking sync.WaitGroup
	talking.Go(func() {
		for last := d.clock.Now(); !over.Load(); {
			if a, err := pitcher.Ask("SEND to="+d.address("catcher"), []byte("\r\nhello")); err == nil {
				longest, last = max(longest, a.Back-last), a.Back
			}
			d.pauseFor(5 * time.Millisecond)
		}
	})
	return func() time.Duration {
		over.Store(true)
		talking.Wait()
		return longest
	}, nil
}

// flockWatch waits until watchers have seen all of the flock deaf.
type flockWatch struct {
	clock clock
	mu    sync.Mutex
	left  int // pairs of watcher and user that are not deaf yet
	at    time.Duration
	done  chan struct{}
}

func newFlockWatch(c clock) *flockWatch { return &flockWatch{clock: c, done: make(chan struct{})} }

func (w *flockWatch) begin(l *lab, node int, enter enterFunc) error {
	c, err := enter(node, fmt.Sprintf("watcher%d", node), w.heard)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.left += flock
	w.mu.Unlock()
	var all strings.Builder
	for i := range flock {
		all.WriteString(" ima=" + l.address(fmt.Sprintf("sheep%d", i)))
	}
	if _, err := c.Ask("QUERY fresh=yes ima="+l.address("late"), nil); err != nil {
		return err // or the node may not know the newest of them yet
	}
	a, err := c.Ask("WATCH"+all.String(), nil)
	if err != nil {
		return err
	}
	for i := range a.Lines[:flock] {
		if s, _ := a.Lines[i].Get("state"); s != "available" {
			return fmt.Errorf("a watcher at %d is told %v of a user who listens", node, a.Lines[i])
		}
	}
	return nil
}

func (w *flockWatch) heard(l *protocol.Line, _ []byte, at time.Duration) {
	if s, _ := l.Get("state"); l.Verb != "PRESENCE" || s != "deaf" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left--; w.left == 0 {
		w.at = at
		close(w.done)
	}
}

// wait returns when the last was seen; 0: not within 20 s.
func (w *flockWatch) wait() time.Duration {
	select {
	case <-w.done:
	case <-time.After(20 * time.Second):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}
