package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	"simpd/cluster/link/linktest"
	"simpd/store"
)

// lab is nodes on a network in memory, in a bubble of synctest.
type lab struct {
	t       *testing.T
	network *linktest.Network
	nodes   map[string]*Node
	ending  sync.Mutex // guards fatal
	fatal   map[string]error
	mortal  bool              // what has to end is not reached any more
	hosts   map[string]string // where they are not where their id says
	expect  int
	dir     string // empty: they keep nothing
	setup   func(*Config)
}

// inLab runs a test in a bubble, on a network that is empty yet.
func inLab(t *testing.T, test func(t *testing.T, l *lab)) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, network: linktest.New(), nodes: make(map[string]*Node), fatal: make(map[string]error), hosts: make(map[string]string)}
		defer l.close()
		test(t, l)
	})
}

func (l *lab) host(id string) string {
	if h := l.hosts[id]; h != "" {
		return h
	}
	return "10.0.0." + id[1:]
}

// start starts nodes, anew if they ran before.
func (l *lab) start(ids ...string) {
	l.t.Helper()
	for _, id := range ids {
		n, err := Open(l.config(id))
		if err == nil {
			err = n.Start()
		}
		if err != nil {
			l.t.Fatalf("starting %s: %v", id, err)
		}
		l.nodes[id] = n
	}
}

func (l *lab) config(id string) Config {
	l.t.Helper()
	c := Config{
		NodeID: id, Site: "example.com", Link: l.link(id), Table: store.New(store.Config{}), Receiver: newReceiver(),
		BootstrapExpect: l.expect, Logger: testLogger(l.t).With("at", l.host(id)),
	}
	c.Fatal = func(err error) {
		if l.mortal {
			l.network.Kill(l.host(id))
		}
		l.ending.Lock()
		defer l.ending.Unlock()
		l.fatal[id] = err
	}
	if l.dir != "" {
		c.DataDir = filepath.Join(l.dir, id)
	}
	if l.setup != nil {
		l.setup(&c)
	}
	return c
}

// why returns the error that has ended a node, or nil.
func (l *lab) why(id string) error {
	l.ending.Lock()
	defer l.ending.Unlock()
	return l.fatal[id]
}

// forgive forgets what has ended a node.
func (l *lab) forgive(id string) {
	l.ending.Lock()
	defer l.ending.Unlock()
	delete(l.fatal, id)
}

func (l *lab) link(id string) (c link.Config) {
	l.t.Helper()
	host := l.host(id)
	listener, err := l.network.Listen(host + ":7470")
	must(l.t, err)
	gossip, err := l.network.Gossip(host + ":7471")
	must(l.t, err)
	c.Listener, c.Gossip.Transport, c.Dial = listener, gossip, l.network.Dialer(host)
	for i := 1; i <= 5; i++ {
		if other := fmt.Sprint("n", i); other != id {
			c.Gossip.Join = append(c.Gossip.Join, l.host(other)+":7471")
		}
	}
	if l.expect == 1 {
		c.Gossip.Join = nil
	}
	return c
}

// kill ends a node as the end of its process would.
func (l *lab) kill(id string) {
	l.t.Helper()
	l.network.Kill(l.host(id))
	if err := l.nodes[id].Close(); err != nil {
		l.t.Errorf("closing %s: %v", id, err)
	}
	delete(l.nodes, id)
}

func (l *lab) close() {
	for id := range l.nodes {
		l.network.Rejoin(l.host(id))
	}
	for _, n := range l.nodes {
		n.Close()
	}
	<-time.After(10 * time.Second) // memberlist's probes end by their timers alone
}

// eventually waits, at most a minute of the bubble's time.
func (l *lab) eventually(what string, ok func() bool) {
	l.t.Helper()
	for range 6000 {
		synctest.Wait()
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	for id, n := range l.nodes {
		l.t.Logf("%s: leader %q, %+v, ready: %v", id, n.Leader(), n.Stats(), n.Ready())
	}
	l.t.Fatalf("not within a minute: %s", what)
}

func (l *lab) awaitReady() {
	l.t.Helper()
	l.eventually("all nodes are ready", func() bool {
		for _, n := range l.nodes {
			if n.Ready() != nil {
				return false
			}
		}
		return true
	})
}

// leader is the one node that leads, once all that run agree on it.
func (l *lab) leader() *Node {
	l.t.Helper()
	var leader *Node
	l.eventually("one node leads", func() bool {
		leader = nil
		for _, n := range l.nodes {
			if n.Leader() == n.cfg.NodeID {
				leader = n
			}
		}
		if leader == nil {
			return false
		}
		for _, n := range l.nodes {
			if n.Leader() != leader.cfg.NodeID {
				return false
			}
		}
		return true
	})
	return leader
}

// followers are the nodes that run and don't lead.
func (l *lab) followers() (all []*Node) {
	leader := l.leader()
	for i := 1; i <= 5; i++ {
		if n := l.nodes[fmt.Sprint("n", i)]; n != nil && n != leader {
			all = append(all, n)
		}
	}
	return all
}

// suffrages says how many voters and replicas a node knows of.
func suffrages(n *Node) (voters, replicas int) {
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter {
			voters++
		} else {
			replicas++
		}
	}
	return voters, replicas
}

func (l *lab) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	l.t.Cleanup(cancel)
	return ctx
}
