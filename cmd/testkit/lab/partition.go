package main

import (
	"errors"
	"strings"
	"time"
)

// clientsApart is the fault that leaves connections half open.
const clientsApart = "a node's clients cut off"

// networkFaults cut nodes off from one another; clients still reach all.
func networkFaults() []injector {
	return []injector{
		{"a node cut off", cutOff, 500 * time.Millisecond, 20 * time.Second, true},
		{"the leader cut off", cutLeaderOff, 500 * time.Millisecond, 14 * time.Second, true},
		{"a node hears nobody", deafNode, 500 * time.Millisecond, 12 * time.Second, true},
		{"nobody hears a node", muteNode, 500 * time.Millisecond, 12 * time.Second, true},
		{"two nodes apart", bridge, 500 * time.Millisecond, 12 * time.Second, true},
		{"half of gossip lost", gossipLoss, time.Second, 12 * time.Second, true},
		{"gossip alone apart", gossipApart, time.Second, 12 * time.Second, true},
		{"all but gossip apart", allButGossipApart, 500 * time.Millisecond, 12 * time.Second, true},
		{clientsApart, clientsCutOff, time.Second, 15 * time.Second, false},
		{"one cut after the other", swizzle, 0, 2 * time.Second, true},
	}
}

// cut describes the packets that one node does not take from another.
type cut struct {
	at, from int
	more     string
}

// cutting makes cuts, and ends those at the same nodes.
func (l *lab) cutting(struck []int, cuts ...cut) ([]int, string, func() error, error) {
	for _, c := range cuts {
		if err := l.net.drop(c.at, c.from, strings.Fields(c.more)...); err != nil {
			return nil, "", nil, err
		}
	}
	return struck, "", func() error {
		for _, c := range cuts {
			if err := l.net.heal(c.at); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// between are the cuts of both directions between a node and all others.
func (l *lab) between(node int, in, out bool, more string) []cut {
	var all []cut
	for i := range l.site.Nodes {
		if other := i + 1; other != node {
			if in {
				all = append(all, cut{node, other, more})
			}
			if out {
				all = append(all, cut{other, node, more})
			}
		}
	}
	return all
}

func (l *lab) isolate(node int, in, out bool, more string) ([]int, string, func() error, error) {
	return l.cutting([]int{node}, l.between(node, in, out, more)...)
}

func cutOff(l *lab) ([]int, string, func() error, error) {
	return l.isolate(l.someNode().Number, true, true, "")
}

func cutLeaderOff(l *lab) ([]int, string, func() error, error) {
	return l.isolate(l.leader().Number, true, true, "")
}

func deafNode(l *lab) ([]int, string, func() error, error) {
	return l.isolate(l.someNode().Number, true, false, "")
}

func muteNode(l *lab) ([]int, string, func() error, error) {
	return l.isolate(l.someNode().Number, false, true, "")
}

// bridge cuts two nodes from one another, and a third still reaches both.
func bridge(l *lab) ([]int, string, func() error, error) {
	a := l.someNode().Number
	b := 1 + a%len(l.site.Nodes)
	return l.cutting([]int{a, b}, cut{a, b, ""}, cut{b, a, ""})
}

func gossipLoss(l *lab) ([]int, string, func() error, error) {
	var all []cut
	for i := range l.site.Nodes {
		all = append(all, l.between(i+1, true, false, "-p udp -m statistic --mode random --probability 0.5")...)
	}
	return l.cutting(nil, all...)
}

// gossipApart cuts gossip, by UDP and TCP, while all else goes on.
func gossipApart(l *lab) ([]int, string, func() error, error) {
	node := l.someNode()
	_, port, _ := strings.Cut(node.Gossip, ":")
	return l.cutting(nil, append(l.between(node.Number, true, true, "-p udp"), l.between(node.Number, true, true, "-p tcp --dport "+port)...)...)
}

// allButGossipApart cuts what Raft, calls and messages go by: who asks gossip
// alone finds the node well.
func allButGossipApart(l *lab) ([]int, string, func() error, error) {
	node := l.someNode()
	_, port, _ := strings.Cut(node.Cluster, ":")
	return l.isolate(node.Number, true, true, "-p tcp --dport "+port)
}

// clientsCutOff has a node hear nothing of its clients, whose connections
// stand half open.
func clientsCutOff(l *lab) ([]int, string, func() error, error) {
	n := l.someNode().Number
	if err := l.net.rule(n, []string{"-A", "INPUT", "-s", l.net.Hub(), "-j", "DROP"}); err != nil {
		return nil, "", nil, err
	}
	return []int{n}, "", func() error { return l.net.heal(n) }, nil
}

// swizzle cuts the nodes off from one another, pair after pair, and joins
// them again in another order.
func swizzle(l *lab) ([]int, string, func() error, error) {
	pairs := [][2]int{{1, 2}, {2, 3}, {3, 1}}
	both := func(change func(i, from int, more ...string) error, p [2]int) error {
		return errors.Join(change(p[0], p[1]), change(p[1], p[0]))
	}
	for _, i := range l.r.Perm(len(pairs)) {
		if err := both(l.net.drop, pairs[i]); err != nil {
			return nil, "", nil, err
		}
		l.pauseFor(time.Duration(l.intN(2500)) * time.Millisecond)
	}
	return []int{1, 2, 3}, "", func() error {
		for _, i := range l.r.Perm(len(pairs)) {
			if err := both(l.net.undrop, pairs[i]); err != nil {
				return err
			}
			l.pauseFor(time.Duration(l.intN(2500)) * time.Millisecond)
		}
		return nil
	}, nil
}
