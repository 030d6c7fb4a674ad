package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"simpd/protocol"
)

// view is what one watching connection was shown, from its WATCH to its end.
type view struct {
	mu      sync.Mutex
	since   uint64            // the index of WATCH's 200
	shown   map[string][]seen // by address, in order; the first is WATCH's
	ended   bool
	problem string
}

// seen is one state of one user.
type seen struct {
	index uint64 // 0 for deaf
	state string
	note  string
}

// same reports whether two places say the same of a user. That somebody is deaf
// may be said with the index of the change or without.
func (a seen) same(b seen) bool {
	return a == b || a.state == "deaf" && b.state == "deaf"
}

func seenOf(l protocol.Line) seen {
	index, _ := strconv.ParseUint(param(l, "index"), 10, 64)
	return seen{index, param(l, "state"), param(l, "note")}
}

func (v *view) add(l protocol.Line) {
	v.mu.Lock()
	defer v.mu.Unlock()
	ima, now := param(l, "ima"), seenOf(l)
	for _, before := range v.shown[ima] {
		if now.index != 0 && before.index >= now.index {
			v.problem = fmt.Sprintf("%s: index %d is shown after %d", ima, now.index, before.index)
		}
	}
	v.shown[ima] = append(v.shown[ima], now)
}

// now is what the view shows of a user.
func (v *view) now(ima string) seen {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.shown[ima]
	return all[len(all)-1]
}

// watch watches everybody, on one node after the other.
func (s *storm) watch() {
	var all []string
	for i := range stormUsers {
		all = append(all, "ima="+stormUser(i))
	}
	for !done(s.finished) {
		v := &view{shown: map[string][]seen{}}
		ready := make(chan struct{})
		c := s.connect(stormUser(rand.IntN(stormUsers)), nil, func(l protocol.Line) {
			if l.Verb == "PRESENCE" {
				<-ready // WATCH's own lines come first
				v.add(l)
			}
		})
		if c == nil {
			return
		}
		s.keepWatching(c, v, "WATCH "+strings.Join(all, " "), ready)
		c.close()
	}
}

func (s *storm) keepWatching(c *talk, v *view, request string, ready chan struct{}) {
	lines, err := c.ask(request, nil)
	if err != nil {
		close(ready)
		return
	}
	for _, l := range lines[:len(lines)-1] {
		v.add(l)
	}
	v.since, _ = strconv.ParseUint(param(lines[len(lines)-1], "index"), 10, 64)
	s.mu.Lock()
	s.views = append(s.views, v)
	s.mu.Unlock()
	close(ready)
	leave := make(<-chan time.Time)
	if rand.IntN(2) == 0 {
		leave = time.After(time.Duration(rand.Int64N(int64(stormTime))))
	}
	select {
	case <-c.gone:
	case <-leave:
	case <-s.finished:
	}
	v.mu.Lock()
	v.ended = !done(s.finished)
	v.mu.Unlock()
}
