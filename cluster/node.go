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

	"simpd/cluster/link"
	"simpd/store"
)

// Node is one node's part in the site. All methods may be called from any
// goroutine.
type Node struct {
	cfg     Config
	pace    pace
	bounds  logBounds
	boot    uint64
	started time.Time

	table *store.Table
	disk  *disk
	fsm   *fsm
	link  peers
	gate  *gate
	raft  *raft.Raft
	runs  atomic.Pointer[raft.Raft] // raft, for who may ask before it is there

	publishing sync.Mutex // held while the link is told who is of the site
	published  link.Configuration
	kept       []store.RemovedNode

	proposer *proposer
	intake   *intake

	announcer *announcer

	measures   Measures
	epoch      atomic.Uint64
	caughtUp   atomic.Bool // the node was up at least once since it started
	stalls     stallDetector
	reign      atomic.Pointer[reign]           // while this node leads
	piloted    atomic.Pointer[autopilot.State] // likewise: how it sees the others
	confirms   confirms
	verifying  verifying
	transfers  transfers
	nodes      bell // who is in the table has changed
	configured bell // who is in Raft's configuration has changed
	leaders    bell // who leads has changed
	members    poke // gossip has told something
	leaving    atomic.Bool
	digests    digests
	formation  formationWatch

	ctx       context.Context // of what the node does by itself
	stop      context.CancelFunc
	wg        sync.WaitGroup
	notified  chan bool // by Raft, of leadership won and lost
	led       poke      // the same, for rule
	drained   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Open opens the data directory, restores the table and joins Raft; Start
// does all else. A directory that is damaged or another node's is refused with
// one sentence. What Config.Link holds open is closed if Open fails.
func Open(c Config) (*Node, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: c, pace: c.Timing.pace(), bounds: cmp.Or(c.bounds, defaultBounds()), boot: randomNumber(), started: time.Now(),
		table: c.Table, members: newPoke(), digests: digests{wanted: newPoke()}, notified: make(chan bool, 10), led: newPoke(),
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

// open opens what the node stands on, from the disk up.
func (n *Node) open() (err error) {
	n.makeParts()
	n.drained.Go(func() { forward(n.notified, n.led) })
	if n.link, err = n.openLink(); err != nil {
		return fmt.Errorf("opening the way to the other nodes: %w", err)
	}
	logger := newRaftLogger(n.cfg.Logger)
	if n.disk, err = openDisk(n.cfg.DataDir, n.cfg.Site, n.cfg.NodeID, n.cfg.Fatal, logger); err != nil {
		return err
	}
	n.gate = newGate(n.link.RaftTransport(logger), func() string { return n.disk.marker.get().Founding }, n.boot, n.link)
	n.announcer.gate = n.gate
	if n.raft, err = newRaft(&n.cfg, n.fsm, n.disk, n.announcer, n.notified); err != nil {
		return err
	}
	n.runs.Store(n.raft)
	n.publish()
	if n.disk.marker.get().Admitted {
		n.gate.open()
	}
	return nil
}

// makeParts makes the parts that need no disk.
func (n *Node) makeParts() {
	n.proposer = newProposer(origin{n.cfg.NodeID, n.boot})
	n.announcer = &announcer{last: func() uint64 { return n.raft.LastIndex() }}
	n.intake = &intake{
		apply:     func(cmd []byte, timeout time.Duration) raft.ApplyFuture { return n.raft.Apply(cmd, timeout) },
		committed: n.announcer.commit,
		leader:    n.Leader,
		fatal:     n.cfg.Fatal,
		counts:    &n.measures,
	}
	n.proposer.leads, n.proposer.lost = n.leads, n.lost
	n.proposer.offer = n.intake.offer
	n.proposer.call = n.callLeader
	n.fsm = &fsm{
		table: n.table, counts: &n.measures, fatal: n.cfg.Fatal, nodesChanged: &n.nodes, serversChanged: &n.configured,
		applied: n.proposer.applied, restored: n.proposer.restored, hash: func(log uint64) { n.digests.want(log, n.table.View()) },
	}
}

// Start begins to find the other nodes and to answer them, to lead when it
// falls to this node, and to be up. It returns at once; Ready says when the
// node is of use. From now on Config's Receiver and functions are called.
func (n *Node) Start() error {
	for _, work := range []func(context.Context){
		n.rule, n.watchLeader, n.proposer.run, n.keepEpoch, n.arrive, n.belong, n.publishMembers, n.remember, n.compactLog, n.heed, n.compareDigests, n.watchStalls, n.announceData, n.watchSettings,
	} {
		n.wg.Go(func() { work(n.ctx) })
	}
	return n.link.Start()
}

// heed ends the process if the link finds that it must not go on.
func (n *Node) heed(ctx context.Context) {
	select {
	case err := <-n.link.Fatal():
		n.cfg.Fatal(err)
	case <-ctx.Done():
	}
}

// rememberEvery is how often the marker is brought up to date. It says what a
// log must hold; what it says too late only makes it demand less.
const rememberEvery = 10 * time.Second

// remember writes into the marker how far the log has been applied.
func (n *Node) remember(ctx context.Context) {
	tick := time.NewTicker(rememberEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := n.note(); err != nil {
				n.cfg.Logger.Warn("the marker can't be brought up to date", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) note() error {
	index, term := n.fsm.newest()
	return n.disk.note(index, term)
}
