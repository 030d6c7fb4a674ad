package cluster

import (
	"fmt"
	"time"
)

// Timing is how long the nodes wait for one another before they act.
type Timing uint8

// The timings. All nodes of a site have the same.
const (
	// Fast replaces a dead leader within about a second, on machines that
	// give the node its own cores.
	Fast Timing = iota
	// Relaxed takes about twice as long, and bears starved machines.
	Relaxed
	// Dev is for a site on one machine, for trying out: a new site is ready
	// in well under a second.
	Dev
)

// ParseTiming reads one of fast, relaxed and dev.
func ParseTiming(s string) (Timing, error) {
	for t := Fast; t <= Dev; t++ {
		if t.String() == s {
			return t, nil
		}
	}
	return Fast, fmt.Errorf("the timing %q is none of fast, relaxed and dev", s)
}

func (t Timing) String() string {
	return [...]string{"fast", "relaxed", "dev"}[t]
}

// pace is a timing in numbers.
type pace struct {
	heartbeat time.Duration // without a leader's word for so long, a voter asks for votes
	lease     time.Duration // without a majority's word for so long, a leader steps down
	lost      time.Duration // without the majority for so long, proposals are given up
	duties    time.Duration // how often a leader looks after the nodes
	watch     time.Duration // how often it looks how they are
	settled   time.Duration // a replica is well for so long before it may vote
	dead      time.Duration // a voter is not well for so long before a replica gets its vote
}

func (t Timing) pace() pace {
	switch t {
	case Relaxed:
		return pace{heartbeat: time.Second, lease: 500 * time.Millisecond, lost: 3 * time.Second,
			duties: 250 * time.Millisecond, watch: 2 * time.Second, settled: 10 * time.Second, dead: 10 * time.Minute}
	case Dev:
		return pace{heartbeat: 200 * time.Millisecond, lease: 200 * time.Millisecond, lost: 1500 * time.Millisecond,
			duties: 50 * time.Millisecond, watch: 500 * time.Millisecond, settled: time.Second, dead: 10 * time.Minute}
	}
	return pace{heartbeat: 500 * time.Millisecond, lease: 400 * time.Millisecond, lost: 1800 * time.Millisecond,
		duties: 100 * time.Millisecond, watch: time.Second, settled: 10 * time.Second, dead: 10 * time.Minute}
}

// touch is how long after the leader's last word a node still counts as in
// touch with the majority.
const touch = 1500 * time.Millisecond

// How long a suspected node has before its epoch is ended.
const (
	closedFor = 1 * time.Second  // its process is gone: streams closed, connections refused
	silentFor = 5 * time.Second  // nothing comes: paused or cut off
	absentFor = 60 * time.Second // it never answered since this leader leads
)
