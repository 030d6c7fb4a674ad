package cluster

// Bounds of a change, a batch and an entry of the log, and of what waits for
// them. A batch has more than maxOctets, or an entry, only if its first change
// has: the rules or the contacts of one user, as a restore writes them.
const (
	maxChanges      = 256
	maxOctets       = 48 << 10
	maxChangeOctets = 768 << 10
	maxBatchOctets  = maxChangeOctets + 16<<10 // with what names its process and its time

	maxOpen          = 4       // entries of the log, or calls to the leader, unanswered
	maxWaiting       = 1 << 16 // changes
	maxWaitingOctets = 32 << 20
)

// queueSize counts the changes in a queue.
type queueSize struct{ changes, octets int }

// fits reports whether that many more may be queued.
func (b *queueSize) fits(changes, octets int) bool {
	return b.changes+changes <= maxWaiting && b.octets+octets <= maxWaitingOctets
}

func (b *queueSize) add(changes, octets int) {
	b.changes += changes
	b.octets += octets
}

func (b *queueSize) remove(changes, octets int) { b.add(-changes, -octets) }
