package client

import "sync"

// queue does something with one item after the other, in the order of their
// coming, in a goroutine that lives only while there are items.
type queue[T any] struct {
	do func(T)

	mu    sync.Mutex
	items []T
	busy  bool
	idle  sync.Cond // signalled as busy ends
}

func newQueue[T any](do func(T)) *queue[T] {
	q := &queue[T]{do: do}
	q.idle.L = &q.mu
	return q
}

// push adds an item; it never blocks. change, if not nil, may merge it with
// those that wait.
func (q *queue[T]) push(item T, change func(waiting []T, item T) []T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if change != nil {
		q.items = change(q.items, item)
	} else {
		q.items = append(q.items, item)
	}
	if !q.busy {
		q.busy = true
		go q.work()
	}
}

func (q *queue[T]) work() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) > 0 {
		item := q.items[0]
		q.items = q.items[1:]
		q.mu.Unlock()
		q.do(item)
		q.mu.Lock()
	}
	q.items, q.busy = nil, false
	q.idle.Broadcast()
}

// wait returns when nothing is left to do.
func (q *queue[T]) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.busy {
		q.idle.Wait()
	}
}
