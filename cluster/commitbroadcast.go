package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// commitBroadcaster tells followers of each commit at once. Raft itself tells them only
// with the next entry or, without one, 10 to 20 ms later, and the proposer
// and the watchers on another node would wait for that long.
//
// It sends AppendEntries calls that Raft could have sent at that moment:
// without entries, and only to a follower whose log is known to contain what
// is committed. So Raft accepts them as its own, and they may be lost.
type commitBroadcaster struct {
	// send sends a call as Raft would.
	send      func(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error
	lastIndex func() uint64 // of the newest entry in this node's log

	mu        sync.Mutex
	closed    bool
	term      uint64 // in which this node leads, or led last
	committed uint64 // the newest committed entry of that term
	followers map[raft.ServerID]*follower
	wg        sync.WaitGroup
}

// follower holds what the leader knows about the log of another node.
type follower struct {
	addr        raft.ServerAddress
	header      raft.RPCHeader
	matchIndex  uint64 // the newest entry that it certainly has
	commitIndex uint64 // the newest entry that it knows to be committed
	inFlight    bool   // a call is in progress
}

// onAppended records that a node has accepted a call.
func (a *commitBroadcaster) onAppended(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest) {
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
	f.matchIndex = max(f.matchIndex, args.PrevLogEntry+uint64(len(args.Entries)))
	f.commitIndex = max(f.commitIndex, min(args.LeaderCommitIndex, f.matchIndex))
	a.sendLocked(id, f)
}

// onCommit records that an entry of the term in which this node leads is
// committed.
func (a *commitBroadcaster) onCommit(term, index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if term != a.term {
		return
	}
	a.committed = max(a.committed, index)
	for id, f := range a.followers {
		a.sendLocked(id, f)
	}
}

// sendLocked sends the newest commit index to a node that does not know it,
// unless another entry follows, which will carry it.
func (a *commitBroadcaster) sendLocked(id raft.ServerID, f *follower) {
	if f.inFlight || f.matchIndex < a.committed || f.commitIndex >= a.committed || a.closed || a.lastIndex() > a.committed {
		return
	}
	f.inFlight = true
	at, args := f.addr, &raft.AppendEntriesRequest{
		RPCHeader: f.header, Term: a.term,
		PrevLogEntry: a.committed, PrevLogTerm: a.term, LeaderCommitIndex: a.committed,
	}
	a.wg.Go(func() { a.tell(id, at, f, args) })
}

func (a *commitBroadcaster) tell(id raft.ServerID, at raft.ServerAddress, f *follower, args *raft.AppendEntriesRequest) {
	var resp raft.AppendEntriesResponse
	err := a.send(id, at, args, &resp)
	a.mu.Lock()
	defer a.mu.Unlock()
	f.inFlight = false
	if err != nil || !resp.Success || a.followers[id] != f {
		return // Raft tells it in its own time
	}
	f.commitIndex = max(f.commitIndex, args.LeaderCommitIndex)
	a.sendLocked(id, f)
}

// close waits for pending calls, after all connections were closed.
func (a *commitBroadcaster) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.wg.Wait()
}
