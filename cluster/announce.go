package cluster

import (
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// announcer is Raft's way to the other nodes, and has a leader tell them of
// each commit at once. Raft itself tells them with the next entry or, where
// none follows, 10 to 20 ms later; and so long whoever proposed the change on
// another node would wait, and whoever watches there.
//
// What it sends is a call that Raft might have sent at that moment: it has no
// entries, and goes only to a node whose log is known to hold what is
// committed. So Raft takes it as one of its own, and may lose it.
type announcer struct {
	*gate
	last func() uint64 // the newest entry in this node's log

	mu        sync.Mutex
	closed    bool
	term      uint64 // in which this node leads, or led last
	committed uint64 // the newest entry of that term that is
	followers map[raft.ServerID]*follower
	wg        sync.WaitGroup

	installs installs
}

// follower is what a leader knows of another node's log.
type follower struct {
	addr   raft.ServerAddress
	header raft.RPCHeader
	holds  uint64 // the newest entry that is in it for certain
	knows  uint64 // the newest that it is known to know as committed
	busy   bool   // a call is under way
}

// AppendEntries sends Raft's call, and learns from what became of it.
func (a *announcer) AppendEntries(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := a.gate.AppendEntries(id, addr, args, resp)
	if err == nil && resp.Success {
		a.learn(id, addr, args)
		a.installs.advance(id, args.PrevLogEntry+uint64(len(args.Entries)))
	}
	return err
}

// InstallSnapshot sends a snapshot, and has what follows it stay in the log meanwhile.
func (a *announcer) InstallSnapshot(id raft.ServerID, addr raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	a.installs.begin(id, args.LastLogIndex)
	err := a.gate.InstallSnapshot(id, addr, args, resp, data)
	a.installs.end(id, err)
	return err
}

// learn notes that a node has taken a call.
func (a *announcer) learn(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if args.Term > a.term {
		a.term, a.committed, a.followers = args.Term, 0, make(map[raft.ServerID]*follower)
	}
	if args.Term < a.term {
		return
	}
	f := a.followers[id]
	if f == nil {
		f = &follower{}
		a.followers[id] = f
	}
	f.addr, f.header = addr, args.RPCHeader
	f.holds = max(f.holds, args.PrevLogEntry+uint64(len(args.Entries)))
	f.knows = max(f.knows, min(args.LeaderCommitIndex, f.holds))
	a.tell(id, f)
}

// commit notes that an entry of that term, in which this node leads, is
// committed.
func (a *announcer) commit(term, index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if term != a.term {
		return
	}
	a.committed = max(a.committed, index)
	for id, f := range a.followers {
		a.tell(id, f)
	}
}

// tell announces the newest commit to a node that does not know of it, unless
// another entry follows, which will do that; a.mu is held.
func (a *announcer) tell(id raft.ServerID, f *follower) {
	if f.busy || f.holds < a.committed || f.knows >= a.committed || a.closed || a.last() > a.committed {
		return
	}
	f.busy = true
	at, args := f.addr, &raft.AppendEntriesRequest{
		RPCHeader: f.header, Term: a.term,
		PrevLogEntry: a.committed, PrevLogTerm: a.term, LeaderCommitIndex: a.committed,
	}
	a.wg.Go(func() { a.announce(id, at, f, args) })
}

func (a *announcer) announce(id raft.ServerID, at raft.ServerAddress, f *follower, args *raft.AppendEntriesRequest) {
	var resp raft.AppendEntriesResponse
	err := a.gate.AppendEntries(id, at, args, &resp)
	a.mu.Lock()
	defer a.mu.Unlock()
	f.busy = false
	if err != nil || !resp.Success || a.followers[id] != f {
		return // Raft tells it in its own time
	}
	f.knows = max(f.knows, args.LeaderCommitIndex)
	a.tell(id, f)
}

// end waits for what is under way, once all connections are closed.
func (a *announcer) end() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.wg.Wait()
}
