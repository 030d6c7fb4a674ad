// Package cluster is the nodes of a site agreeing on one table. A Node brings
// together Raft, the table (package store) and the way to the other nodes
// (package link):
//
//	n, err := cluster.Open(cluster.Config{NodeID: "n1", …})
//	…
//	err = n.Start()
//	…
//	results, err := n.Propose(ctx, change)
//	…
//	n.Shutdown(ctx)
//
// A change goes from the proposer of the node it was made on to the leader,
// there with whatever else waits into one entry of the log, and from the log
// into the table of every node. Propose returns once this node's own table
// holds it.
//
// The package decides who is part of the site, who leads, which epochs live
// and which have ended. It knows no client, no message's way and no rule.
package cluster
