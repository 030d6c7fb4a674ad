package client

import "sync"

// workQueue processes items one at a time, in order, in a goroutine that
// exists only while there are items.
type workQueue[T any] struct {
	do func(T)

	mu      sync.Mutex
	items   []T
	running bool
	idle    sync.Cond // signaled when running becomes false
}

func newWorkQueue[T any](do func(T)) *workQueue[T] {
	q := &workQueue[T]{do: do}
	q.idle.L = &q.mu
	return q
}

// push adds an item. It never blocks. change, if not nil, may merge the item
// with the waiting ones.
func (q *workQueue[T]) push(item T, change func(waiting []T, item T) []T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if change != nil {
		q.items = change(q.items, item)
	} else {
		q.items = append(q.items, item)
	}
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *workQueue[T]) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) > 0 {
		item := q.items[0]
		q.items = q.items[1:]
		q.mu.Unlock()
		q.do(item)
		q.mu.Lock()
	}
	q.items, q.running = nil, false
	q.idle.Broadcast()
}

// waitIdle returns when all items have been processed.
func (q *workQueue[T]) waitIdle() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.running {
		q.idle.Wait()
	}
}
