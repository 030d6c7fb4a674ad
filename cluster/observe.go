package cluster

import (
	"context"
	"sync"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// Observation is what one node tells operators.
type Observation struct {
	Node     string
	Response *clusterv1.ObserveResponse // nil if it did not answer
	Err      error
}

// Observe asks a node, or with "" all nodes that are up, what only they
// themselves know. The answers are in no order.
func (n *Node) Observe(ctx context.Context, node string, r *clusterv1.ObserveRequest) (all []Observation) {
	nodes := []string{node}
	if node == "" {
		nodes = n.liveNodes()
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, id := range nodes {
		wg.Go(func() {
			o := n.observeOne(ctx, id, r)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, o)
		})
	}
	wg.Wait()
	return all
}

func (n *Node) observeOne(ctx context.Context, node string, r *clusterv1.ObserveRequest) Observation {
	if node == n.cfg.NodeID {
		return Observation{Node: node, Response: n.observeHere(r)}
	}
	found, err := n.peers.Observe(ctx, node, r)
	return Observation{node, found, err}
}

func (n *Node) observeHere(r *clusterv1.ObserveRequest) *clusterv1.ObserveResponse {
	if n.cfg.Observe == nil {
		return &clusterv1.ObserveResponse{}
	}
	return n.cfg.Observe(r)
}
