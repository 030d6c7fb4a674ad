package cluster

import (
	"fmt"
	"time"
)

// Timing selects how long the nodes wait for one another before they act.
type Timing uint8

// The timings. All nodes of a site must have the same.
const (
	// Fast replaces a dead leader within about a second, on machines that give
	// the node its own cores.
	Fast Timing = iota
	// Relaxed takes about twice as long, and tolerates overloaded machines.
	Relaxed
	// Dev is for trying a site on one machine: a new site is ready in well under
	// a second.
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

// timeouts are the durations of a Timing.
type timeouts struct {
	heartbeat      time.Duration // a voter without a leader's message for so long requests votes
	lease          time.Duration // a leader without a majority for so long steps down
	quorumLost     time.Duration // without a majority for so long, proposals are given up
	dutyInterval   time.Duration // how often a leader checks the nodes
	healthInterval time.Duration // how often it checks their health
	stableAfter    time.Duration // a replica must be healthy for so long before it may vote
	deadAfter      time.Duration // a voter must be unhealthy for so long before a replica gets its vote
}

func (t Timing) timeouts() timeouts {
	switch t {
	case Relaxed:
		return timeouts{heartbeat: time.Second, lease: 500 * time.Millisecond, quorumLost: 3 * time.Second,
			dutyInterval: 250 * time.Millisecond, healthInterval: 2 * time.Second, stableAfter: 10 * time.Second, deadAfter: 10 * time.Minute}
	case Dev:
		return timeouts{heartbeat: 200 * time.Millisecond, lease: 200 * time.Millisecond, quorumLost: 1500 * time.Millisecond,
			dutyInterval: 50 * time.Millisecond, healthInterval: 500 * time.Millisecond, stableAfter: time.Second, deadAfter: 10 * time.Minute}
	}
	return timeouts{heartbeat: 500 * time.Millisecond, lease: 400 * time.Millisecond, quorumLost: 1800 * time.Millisecond,
		dutyInterval: 100 * time.Millisecond, healthInterval: time.Second, stableAfter: 10 * time.Second, deadAfter: 10 * time.Minute}
}

// retryDelay is how long this node waits before it tries again what failed.
const retryDelay = 20 * time.Millisecond

// contactGrace is how long after the leader's last message a node still
// counts as in contact with the majority.
const contactGrace = 1500 * time.Millisecond

// How long a suspected node has before its epoch is ended.
const (
	closedFor = 1 * time.Second  // its process is gone: streams closed, connections refused
	silentFor = 5 * time.Second  // nothing comes: paused or cut off
	absentFor = 60 * time.Second // it never answered since this leader leads
)
