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

// lookEvery is the interval at which a draining node asks the others for their state.
const lookEvery = 2 * time.Second

// keepLooking looks again and again, until ctx ends.
func (t *targets) keepLooking(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.pollNodes(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// pollNodes asks all other nodes how they are, and returns how many there are, fit
// or not.
func (t *targets) pollNodes(ctx context.Context) (others int) {
	var nodes []target
	for _, s := range t.node.cluster.Status(ctx) {
		if s.ID == t.node.conf.nodeID {
			continue
		}
		others++
		if isEligible(&s) {
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

// isEligible reports whether a node may be given another's clients. Every node takes
// some; which listeners it has counts for next.
func isEligible(s *cluster.NodeStatus) bool { return s.Answers && s.Unready == "" && !s.Draining }

// address returns where a client of that transport reaches the node, for all that the
// node knows; else empty.
func (t *target) address(over protocol.Transport) string {
	address, guessed := t.ClientAddr, t.ClientGuessed
	switch over {
	case protocol.TLS:
		address, guessed = t.SIMPSAddr, t.SIMPSGuessed
	case protocol.WebSocket:
		return "" // the client knows a URL of the site's, not of a node
	}
	if guessed || isUnspecified(address) {
		return ""
	}
	return address
}

// cost orders nodes for a client of that transport: those whose address for it
// is not known come last.
func (t *target) cost(over protocol.Transport) int {
	if over != protocol.WebSocket && t.address(over) == "" {
		return int(t.connections) + 1<<40
	}
	return int(t.connections)
}

// next names where a client of that transport may go: to the node with the
// fewest connections, or where no address is known, to the site by its usual
// name. It is not ok while no node is fit.
func (t *targets) next(over protocol.Transport) (to string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.nodes) == 0 {
		return "", false
	}
	least := slices.MinFunc(t.nodes, func(a, b target) int { return a.cost(over) - b.cost(over) })
	for i := range t.nodes {
		if t.nodes[i].ID == least.ID {
			t.nodes[i].connections++
		}
	}
	return least.address(over), true
}
