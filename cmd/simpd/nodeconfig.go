package main

import (
	"simpd/cluster"
	"simpd/cluster/link"
	"simpd/cmd/internal/cli"
)

// siteName returns the name in the certificates, and without them the first domain.
func (n *node) siteName() string {
	if n.identity != nil {
		return n.identity.Name().Site
	}
	return n.conf.domains[0]
}

func (n *node) clusterConfig() (cluster.Config, error) {
	timing, err := cluster.ParseTiming(n.conf.timing)
	if err != nil {
		return cluster.Config{}, err
	}
	return cluster.Config{
		NodeID: n.conf.nodeID, Site: n.siteName(), DataDir: n.conf.dataDir, Link: n.linkConfig(), Table: n.table, Receiver: n.router,
		Fatal: n.failWith, BootstrapExpect: n.conf.bootstrapExpect, Timing: timing, Version: cli.ReadVersions().Version,
		Failed: n.router.FailedElsewhere, Succeeded: n.router.SucceededElsewhere, Counted: n.router.Limits().Receive, Drain: n.drainAsked, Load: n.clientLoad, Certificates: n.certificateStatus, UnsetAddresses: n.unsetAddresses, Warnings: n.warnings, SourceKeys: n.sourceKeys, Settings: n.sharedSettings, Logger: n.logger,
		ConsoleAddress: n.consoleURL(), Outcomes: n.outcomeCounts, Observe: n.observe,
	}, nil
}

func (n *node) linkConfig() link.Config {
	s, c := n.sockets, n.conf
	gossip := link.GossipConfig{
		BindAddr: n.gossipBind, Advertise: n.gossipAdvertise, Keys: n.gossipKeys, Join: c.join,
		Relaxed: c.timing == "relaxed", Allowed: c.gossipAllow,
	}
	member := link.Member{ClusterAddr: s.advertisedAddr("cluster-listen", c.advertise), GRPCAddr: s.advertisedAddr("grpc-listen", c.advertise)}
	n.setClientAddresses(&member)
	return link.Config{Identity: n.identity, Listener: s["cluster-listen"], Member: member, Gossip: gossip}
}

// clientLoad returns what this node tells others about its clients.
func (n *node) clientLoad() (sessions, connections uint64) {
	return uint64(n.router.Listening()), uint64(n.router.Connections())
}
