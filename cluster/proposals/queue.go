package proposals

import (
	"fmt"
	"slices"

	"simpd/cluster/peerrpc"
)

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

// ErrBusy means that more changes are waiting than a queue can hold. It is also
// ErrUnavailable.
var ErrBusy = fmt.Errorf("%w: too many changes wait for the leader", peerrpc.ErrUnavailable)

// sized is an element of a queue, which knows its size.
type sized interface {
	comparable
	extent() (changes, octets int)
}

// queue holds what waits for a batch or an entry, in order. The zero value is
// empty.
type queue[T sized] struct {
	items           []T
	changes, octets int // of items
}

func (q *queue[T]) isEmpty() bool { return len(q.items) == 0 }

// fits reports whether that many more may be queued.
func (q *queue[T]) fits(changes, octets int) bool {
	return q.changes+changes <= maxWaiting && q.octets+octets <= maxWaitingOctets
}

func (q *queue[T]) add(items ...T) {
	q.items = append(q.items, items...)
	q.count(items, 1)
}

// prepend adds items before all others.
func (q *queue[T]) prepend(items []T) {
	q.items = slices.Concat(items, q.items)
	q.count(items, 1)
}

func (q *queue[T]) remove(i int) {
	q.count(q.items[i:i+1], -1)
	q.items = slices.Delete(q.items, i, i+1)
}

// clear takes all items.
func (q *queue[T]) clear() []T {
	all := q.items
	*q = queue[T]{}
	return all
}

// takeBatch takes what fits into one batch or entry: at least one item, if
// there is any.
func (q *queue[T]) takeBatch() []T {
	n, changes, octets := 0, 0, 0
	for _, item := range q.items {
		c, o := item.extent()
		if n > 0 && (changes+c > maxChanges || octets+o > maxOctets) {
			break
		}
		changes, octets = changes+c, octets+o
		n++
	}
	taken := q.items[:n:n]
	q.changes, q.octets = q.changes-changes, q.octets-octets
	if q.items = q.items[n:]; len(q.items) == 0 {
		q.items = nil // or it would hold on to what was taken
	}
	return taken
}

func (q *queue[T]) count(items []T, sign int) {
	for _, item := range items {
		c, o := item.extent()
		q.changes += sign * c
		q.octets += sign * o
	}
}
