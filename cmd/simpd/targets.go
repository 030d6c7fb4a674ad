package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"simpd/cluster"
	"simpd/cluster/link"
	"simpd/protocol"
)

// targets are the nodes that the clients of a draining one may go to.
type targets struct {
	node *node

	mu    sync.Mutex
	nodes []target
}

type target struct {
	link.Member
	connections uint64 // as the node said, and those sent there since
}

// lookEvery is how often a draining node asks how the others are.
const lookEvery = 2 * time.Second

// keepLooking looks again and again, until ctx ends.
func (t *targets) keepLooking(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// look asks all other nodes how they are, and returns how many there are, fit
// or not.
func (t *targets) look(ctx context.Context) (others int) {
	var nodes []target
	for _, s := range t.node.cluster.Status(ctx) {
		if s.ID == t.node.conf.nodeID {
			continue
		}
		others++
		if fit(&s) {
			nodes = append(nodes, target{s.Member, s.Connections})
		}
	}
	if ctx.Err() == nil {
		t.mu.Lock()
		t.nodes = nodes
		t.mu.Unlock()
	}
	return others
}

// fit reports whether a node may be given another's clients.
func fit(s *cluster.NodeStatus) bool {
	return s.Answers && s.Unready == "" && !s.Draining && s.Member.ClientAddr != ""
}

// costs orders nodes for a client of that transport: those that do not have it
// come last.
func (t *target) costs(over protocol.Transport) int {
	if over == protocol.TLS && t.SIMPSAddr == "" {
		return int(t.connections) + 1<<40
	}
	return int(t.connections)
}

// next names where a client of that transport may go: to the node with the
// fewest connections. It is not ok while no node is fit.
func (t *targets) next(over protocol.Transport) (to string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.nodes) == 0 {
		return "", false
	}
	least := slices.MinFunc(t.nodes, func(a, b target) int { return a.costs(over) - b.costs(over) })
	for i := range t.nodes {
		if t.nodes[i].ID == least.ID {
			t.nodes[i].connections++
		}
	}
	switch over {
	case protocol.WebSocket:
		return "", true // the client knows a URL of the site's, not of a node
	case protocol.TLS:
		return least.SIMPSAddr, true
	}
	return least.ClientAddr, true
}
