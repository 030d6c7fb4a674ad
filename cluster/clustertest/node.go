package clustertest

import (
	"path/filepath"
	"sync"

	"simpd/cluster"
	"simpd/cluster/link"
	"simpd/cluster/link/pki"
	"simpd/cluster/router"
	"simpd/store"
)

// Node is one node of a Site. While it runs it is a cluster.Node.
type Node struct {
	*cluster.Node // nil: it does not run
	Number        int
	Router        *router.Router
	Table         *store.Table

	// Newest is the newest schema of the log that it reads, from its next
	// start on, as if it were another version; 0: this one.
	Newest uint32
	// Fatal hears why it can't go on. Nil: that fails the test.
	Fatal func(error)

	site *Site

	mu      sync.Mutex
	clients []*Client
}

func (n *Node) start() error {
	l, err := n.link()
	if err != nil {
		return err
	}
	logger := n.site.logger(ID(n.Number))
	n.Table = store.New(store.Config{Newest: n.Newest})
	n.Router = router.New(router.Config{
		Node: ID(n.Number), Domains: []string{Domain}, Table: n.Table, Logger: logger, Limits: n.site.config.Limits,
	})
	c := cluster.Config{
		NodeID: ID(n.Number), Site: Domain, Link: l, Table: n.Table, Receiver: n.Router, Logger: logger,
		BootstrapExpect: n.site.config.Nodes, Timing: n.site.config.Timing, Failed: n.Router.FailedElsewhere, Succeeded: n.Router.SucceededElsewhere, Counted: n.Router.Limits().Receive,
		Fatal: n.fatal,
	}
	if n.site.config.Disk {
		c.DataDir = n.site.folder(n.Number)
	}
	if n.Node, err = cluster.Open(c); err != nil {
		return err
	}
	n.Router.Start(n.Node, n.Node)
	return n.Node.Start()
}

func (n *Node) fatal(err error) {
	if n.Fatal != nil {
		n.Fatal(err)
		return
	}
	n.site.t.Errorf("node %d: fatal: %v", n.Number, err)
}

func (n *Node) link() (c link.Config, err error) {
	network, host := n.site.Network, Host(n.Number)
	if c.Listener, err = network.Listen(host + ":7470"); err != nil {
		return c, err
	}
	if c.Gossip.Transport, err = network.Gossip(host + ":7471"); err != nil {
		return c, err
	}
	for j := 1; j <= n.site.config.Nodes; j++ {
		if j != n.Number {
			c.Gossip.Join = append(c.Gossip.Join, Host(j)+":7471")
		}
	}
	c.Dial = network.Dialer(host)
	c.Member.ClientAddr = host + ":7467"
	if !n.site.config.Secure {
		return c, nil
	}
	at := func(name string) string { return filepath.Join(n.site.dir, "tls", name) }
	if c.Gossip.Keys, err = pki.ReadGossipKeys(at("gossip.key")); err != nil {
		return c, err
	}
	c.Identity, err = pki.Load(at("ca.crt"), at("node-"+ID(n.Number)+".crt"), at("node-"+ID(n.Number)+".key"))
	return c, err
}

// takeClients returns the node's clients, which are forgotten.
func (n *Node) takeClients() []*Client {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := n.clients
	n.clients = nil
	return taken
}

// stop ends a node, its clients' connections first, in a way.
func (n *Node) stop(end func(*cluster.Node) error) {
	n.site.t.Helper()
	for _, c := range n.takeClients() {
		c.Close()
	}
	if err := end(n.Node); err != nil {
		n.site.t.Errorf("node %d: %v", n.Number, err)
	}
	n.Router.Shutdown()
	n.Node = nil
}
