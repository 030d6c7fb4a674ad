package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"simpd/cluster"
	"simpd/cluster/link"
	"simpd/cluster/router"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// sayTime bounds each word to the site while a node drains.
const sayTime = 2 * time.Second

// moveAway sends the clients and the leadership elsewhere, for as long as ctx
// allows. Where there is no other node the clients are told so at once.
func (n *node) moveAway(ctx context.Context) {
	targets := n.targets(ctx)
	n.logger.Info("draining", "connections", n.router.Connections(), "others", len(targets.nodes))
	if len(targets.nodes) == 0 {
		over, cancel := context.WithCancel(ctx)
		cancel()
		_ = n.router.Drain(over, router.Drain{Target: targets.next})
		return
	}
	n.announce(ctx, true)
	n.handOver(ctx) // before the clients go, who want a site that answers
	within := n.conf.drainTimeout
	if end, ok := ctx.Deadline(); ok {
		within = time.Until(end)
	}
	if err := n.router.Drain(ctx, router.Drain{Target: targets.next, Within: within}); err != nil {
		n.logger.Warn("not all clients have moved in time", "within", within)
	}
}

// announce tells the site that this node gives its clients away, so that
// other nodes may take one session more of each, or that it does not any more.
func (n *node) announce(ctx context.Context, draining bool) {
	ctx, cancel := context.WithTimeout(ctx, sayTime)
	defer cancel()
	_, err := n.cluster.Propose(ctx, &storev1.Change{Kind: &storev1.Change_SetDraining{SetDraining: &storev1.SetDraining{
		Node: n.conf.nodeID, Epoch: n.cluster.Epoch(), Draining: draining,
	}}})
	if err == nil {
		err = n.cluster.Tell(func(m *link.Member) { m.Draining = draining })
	}
	if err != nil {
		n.logger.Warn("the site could not be told", "draining", draining, "error", err)
	}
}

func (n *node) handOver(ctx context.Context) {
	if n.cluster.Leader() != n.conf.nodeID {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sayTime)
	defer cancel()
	if _, err := n.cluster.TransferLeadership(ctx, ""); err != nil {
		n.logger.Warn("the leadership could not be handed over", "error", err)
	}
}

// drainAsked begins to drain as an operator wishes, or ends that; the clients
// are then moved in the background.
func (n *node) drainAsked(_ context.Context, undo bool) error {
	if undo {
		n.router.Undrain()
		n.serving.Go(func() { n.announce(n.ctx, false) })
		return nil
	}
	if n.router.Draining() {
		return nil
	}
	n.serving.Go(func() {
		ctx, cancel := context.WithTimeout(n.ctx, n.conf.drainTimeout)
		defer cancel()
		n.moveAway(ctx)
	})
	return nil
}

// targets are the nodes that clients may go to. The one with the fewest
// connections is next.
type targets struct {
	mu    sync.Mutex
	nodes []target
}

type target struct {
	link.Member
	connections uint64
}

func (n *node) targets(ctx context.Context) *targets {
	t := &targets{}
	for _, s := range n.cluster.Status(ctx) {
		if fit(&s, n.conf.nodeID) {
			t.nodes = append(t.nodes, target{s.Member, s.Connections})
		}
	}
	return t
}

// fit tells whether a node may be given another's clients.
func fit(s *cluster.NodeStatus, self string) bool {
	return s.ID != self && s.Answers && s.Unready == "" && !s.Draining
}

// next names where a client of that transport may go; empty: to the site by
// its usual name.
func (t *targets) next(over protocol.Transport) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.nodes) == 0 || over == protocol.WebSocket {
		return ""
	}
	least := slices.MinFunc(t.nodes, func(a, b target) int { return int(a.connections) - int(b.connections) })
	for i := range t.nodes {
		if t.nodes[i].ID == least.ID {
			t.nodes[i].connections++
		}
	}
	if over == protocol.TLS {
		return least.SIMPSAddr
	}
	return least.ClientAddr
}
