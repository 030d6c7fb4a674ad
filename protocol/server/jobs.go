package server

import (
	"context"
	"sync"
)

// jobs are a session's requests that may have to wait, for the site or for a
// hash, and what came after them: done one at a time, in order, by a goroutine
// that lives until none is left.
type jobs struct {
	mu      sync.Mutex
	queue   []func(context.Context)
	working bool
	closed  bool
	cancel  context.CancelFunc // of the one being done
	done    sync.WaitGroup
}

// add has f done after all that was added before. It returns false, and does
// nothing, once the jobs are closed.
func (j *jobs) add(f func(context.Context)) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false
	}
	j.queue = append(j.queue, f)
	if !j.working {
		j.working = true
		ctx, cancel := context.WithCancel(context.Background())
		j.cancel = cancel
		j.done.Go(func() { j.work(ctx) })
	}
	return true
}

// aside has f done at once, by a goroutine of its own.
func (j *jobs) aside(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.done.Go(f)
	}
}

// busy tells whether a job is not done.
func (j *jobs) busy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.working
}

func (j *jobs) work(ctx context.Context) {
	for f := j.next(); f != nil; f = j.next() {
		f(ctx)
	}
}

func (j *jobs) next() func(context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 {
		j.queue = nil
		j.working = false
		j.cancel()
		j.cancel = nil
		return nil
	}
	f := j.queue[0]
	j.queue = j.queue[1:]
	return f
}

// stop ends the waiting of the jobs that are left.
func (j *jobs) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.working {
		j.cancel()
	}
}

// close takes no more jobs, and waits until all are done.
func (j *jobs) close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.done.Wait()
}
