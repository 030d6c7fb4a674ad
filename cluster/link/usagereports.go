package link

import (
	"sync"

	"simpd/cluster/ratelimit"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

// maxUsage bounds the reports that wait for a stream that does not take them.
const maxUsage = 4096

// usageReports holds what this node has counted of the site's limits and
// another node has not been told. It keeps nothing while there is no stream:
// what was counted long ago limits nobody now.
type usageReports struct {
	mu      sync.Mutex
	isOpen  bool
	pending []*clusterv1.Usage
}

// start lets reports be kept if the node understands them.
func (u *usageReports) start(understands bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.isOpen = understands
}

// stop forgets everything, because the stream has broken.
func (u *usageReports) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.isOpen, u.pending = false, nil
}

// add keeps counts to be reported, and reports whether there is anything to
// send. Of too many it drops the oldest.
func (u *usageReports) add(counts []ratelimit.Count) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.isOpen {
		return false
	}
	for _, c := range counts {
		u.pending = append(u.pending, &clusterv1.Usage{Limit: uint32(c.Kind), Key: c.Key[:], Taken: c.Taken})
	}
	if more := len(u.pending) - maxUsage; more > 0 {
		u.pending = append(u.pending[:0], u.pending[more:]...)
	}
	return true
}

func (u *usageReports) drain() []*clusterv1.Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	pending := u.pending
	u.pending = nil
	return pending
}

// dispatchUsage passes another node's counts to the Handler. It leaves out
// those of limits that this version does not know.
func dispatchUsage(h Handler, from string, f *clusterv1.Frame) {
	if len(f.Usage) == 0 {
		return
	}
	counts := make([]ratelimit.Count, 0, len(f.Usage))
	for _, u := range f.Usage {
		c := ratelimit.Count{Kind: ratelimit.Kind(u.Limit), Taken: u.Taken}
		if u.Limit < uint32(ratelimit.Kinds) && len(u.Key) == len(c.Key) {
			copy(c.Key[:], u.Key)
			counts = append(counts, c)
		}
	}
	h.Counted(from, counts)
}
