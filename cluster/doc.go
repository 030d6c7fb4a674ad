// Package cluster lets the nodes of a site agree on one table. A Node
// combines Raft, the table (package store) and the connections to the other
// nodes (package link):
//
//	n, err := cluster.Open(cluster.Config{NodeID: "n1", …})
//	…
//	err = n.Start()
//	…
//	results, err := n.Propose(ctx, change)
//	…
//	n.Shutdown(ctx)
//
// A change goes from the proposal client of the node where it was made to the
// leader, there together with other waiting changes into one entry of the
// log, and from the log into the table of every node. Propose returns once
// this node's own table contains it.
//
// The package decides which nodes belong to the site, which one leads, and
// which epochs are current. It knows no clients, no routing and no rules.
package cluster
