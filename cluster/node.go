package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"simpd/cluster/bootstrap"
	"simpd/cluster/link"
	"simpd/cluster/peerrpc"
	"simpd/cluster/proposals"
	"simpd/cluster/storage"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol/wait"
	"simpd/store"
)

// Node is one node of a site. Any goroutine may call its methods.
type Node struct {
	cfg         Config
	timeouts    timeouts
	bounds      logBounds
	incarnation uint64
	started     time.Time

	table     *store.Table
	storage   *storage.Storage
	fsm       *fsm
	link      *link.Link
	peers     *peerrpc.Client
	transport *transport
	raft      *raft.Raft

	bootstrap   *bootstrap.Bootstrap
	proposer    *proposals.Client
	batcher     *proposals.Batcher
	broadcaster *commitBroadcaster

	metrics        Metrics
	epoch          atomic.Uint64
	caughtUp       atomic.Bool // the node was registered at least once since it started
	stalls         stallDetector
	leadership     leadership
	autopilotState atomic.Pointer[autopilot.State] // while this node leads: how it sees the others
	readIndexer    readIndexer
	transfers      transfers
	nodesChanged   wait.Broadcast // the nodes in the table have changed
	configChanged  wait.Broadcast // Raft's configuration has changed
	gossipChanged  wait.Signal    // gossip has reported something
	leaving        atomic.Bool
	consistency    consistencyChecker
	published      publishedMembership

	ctx       context.Context // of the node's own goroutines
	stop      context.CancelFunc
	wg        sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Open opens the data directory, restores the table and joins Raft; Start
// does the rest. If the directory is damaged or belongs to another node, the
// error says so in one sentence. What Config.Link holds open is closed if
// Open fails.
func Open(c Config) (*Node, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: c, timeouts: c.Timing.timeouts(), bounds: cmp.Or(c.bounds, defaultBounds()), incarnation: randomNumber(), started: time.Now(),
		table: c.Table, gossipChanged: wait.NewSignal(), consistency: consistencyChecker{wanted: wait.NewSignal()},
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func randomNumber() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// open opens the parts of the node, from the storage up.
func (n *Node) open() (err error) {
	n.makeParts()
	if n.link, err = n.openLink(); err != nil {
		return fmt.Errorf("opening the way to the other nodes: %w", err)
	}
	n.peers = peerrpc.NewClient(n.link)
	logger := newRaftLogger(n.cfg.Logger)
	if n.storage, err = storage.Open(n.cfg.DataDir, n.cfg.Site, n.cfg.NodeID, n.cfg.Fatal, logger); err != nil {
		return err
	}
	stamp := headerStamp{func() string { return n.storage.Manifest.Get().ClusterID }, n.incarnation, n.link}
	n.transport = newTransport(n.link.RaftTransport(logger), stamp, n.broadcaster)
	if n.raft, err = newRaft(&n.cfg, n.fsm, n.storage, n.transport, n.leadership.notify); err != nil {
		return err
	}
	n.leadership.raft.Store(n.raft)
	n.bootstrap = n.newBootstrap()
	n.publishMembership()
	if n.storage.Manifest.Get().Admitted {
		n.transport.open()
	}
	return nil
}

// newBootstrap returns what brings this node into a site, once all else is
// open.
func (n *Node) newBootstrap() *bootstrap.Bootstrap {
	return bootstrap.New(bootstrap.Config{
		NodeID: n.cfg.NodeID, Incarnation: n.incarnation, Expect: n.cfg.BootstrapExpect, Join: n.cfg.Link.Gossip.Join,
		DataDir: n.storage.Dir, Manifest: n.storage.Manifest, Started: n.started, Interval: n.timeouts.dutyInterval,
		Link: n.link, Peers: n.peers, Changed: n.gossipChanged, Leader: n.Leader, Servers: n.servers,
		Form: func(c raft.Configuration) error { return n.raft.BootstrapCluster(c).Error() },
		OnAdmitted: func() {
			n.publishMembership()
			n.transport.open()
		},
		Fatal: n.cfg.Fatal, Logger: n.cfg.Logger,
	})
}

// makeParts creates the parts that need no storage.
func (n *Node) makeParts() {
	n.leadership.prepare(n.cfg.NodeID)
	n.leadership.establish, n.leadership.revoke = n.establishLeadership, n.revokeLeadership
	n.leadership.onChange = func() { n.proposer.Wake() }
	n.proposer = proposals.NewClient(proposals.ProcessID{Node: n.cfg.NodeID, Incarnation: n.incarnation}, proposals.ClientConfig{
		Leader: n.leadership.leaderAndTerm, QuorumLost: n.quorumLost,
		Submit: func(b *storev1.Batch, done func(error)) { n.batcher.Submit(b, done) },
		CallLeader: func(ctx context.Context, leader string, b []*storev1.Batch) error {
			return n.peers.Propose(ctx, leader, b)
		},
	})
	n.broadcaster = &commitBroadcaster{lastIndex: func() uint64 { return n.raft.LastIndex() }}
	n.batcher = proposals.NewBatcher(proposals.BatcherConfig{
		Apply:    func(cmd []byte, timeout time.Duration) raft.ApplyFuture { return n.raft.Apply(cmd, timeout) },
		OnCommit: n.broadcaster.onCommit, OnEntry: n.metrics.addEntry, Leader: n.leadership.leader, Fatal: n.cfg.Fatal,
	})
	n.fsm = &fsm{
		table: n.table, metrics: &n.metrics, fatal: n.cfg.Fatal, nodesChanged: &n.nodesChanged, serversChanged: &n.configChanged,
		onApplied: n.proposer.OnApplied, onRestored: n.proposer.OnRestored, onHashRequest: func(log uint64) { n.consistency.requestHash(log, n.table.View()) },
	}
}

// Start begins to find and serve the other nodes, to lead if elected, and to
// register. It returns at once; Ready reports when the node is usable. From
// now on Config's Receiver and functions are called.
func (n *Node) Start() error {
	for _, work := range []func(context.Context){
		n.leadership.monitor, n.leadership.watch, n.proposer.Run, n.maintainEpoch, n.bootstrap.Run, n.bootstrap.WatchClusterID, n.watchMembership, n.persistProgress, n.compactLog, n.watchLinkErrors, n.runChecks, n.watchStalls, n.announceData, n.watchSettings,
	} {
		n.wg.Go(func() { work(n.ctx) })
	}
	return n.link.Start()
}

// watchLinkErrors stops the process if the link finds that it must not
// continue.
func (n *Node) watchLinkErrors(ctx context.Context) {
	select {
	case err := <-n.link.Fatal():
		n.cfg.Fatal(err)
	case <-ctx.Done():
	}
}

// persistInterval is how often the manifest is updated. It records what the
// log must contain; a late update only makes it demand less.
const persistInterval = 10 * time.Second

// persistProgress records in the manifest how far the log has been applied.
func (n *Node) persistProgress(ctx context.Context) {
	tick := time.NewTicker(persistInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := n.saveProgress(); err != nil {
				n.cfg.Logger.Warn("the marker can't be brought up to date", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) saveProgress() error {
	index, term := n.fsm.newestApplied()
	return n.storage.SaveApplied(index, term)
}
