package storage

import (
	"sync"

	"github.com/hashicorp/raft"
)

// Bounds of the entries that are kept in memory as well.
const (
	recentEntries = 128
	recentOctets  = 8 << 20
)

// recentLogs caches the newest entries of the log, for this node's table and
// for followers that keep up. Any goroutine may call its methods.
type recentLogs struct {
	mu     sync.RWMutex
	logs   []*raft.Log // without gaps, the oldest first
	octets int         // of their data
}

func (r *recentLogs) get(index uint64, l *raft.Log) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.logs) == 0 || index < r.logs[0].Index || index-r.logs[0].Index >= uint64(len(r.logs)) {
		return false
	}
	*l = *r.logs[index-r.logs[0].Index]
	return true
}

// add stores entries that were just written, in order.
func (r *recentLogs) add(logs []*raft.Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range logs {
		if n := len(r.logs); n > 0 && l.Index != r.logs[n-1].Index+1 {
			r.logs, r.octets = nil, 0
		}
		r.logs = append(r.logs, l)
		r.octets += len(l.Data)
	}
	gone := 0
	for len(r.logs)-gone > recentEntries || r.octets > recentOctets {
		r.octets -= len(r.logs[gone].Data)
		r.logs[gone] = nil
		gone++
	}
	r.logs = r.logs[gone:]
}

// clear removes all entries, because the log was changed elsewhere than at
// its end.
func (r *recentLogs) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs, r.octets = nil, 0
}
