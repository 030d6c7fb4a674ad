package server

import (
	"context"
	"sync"
	"time"
)

// jobs are a session's requests that may have to wait, for the site or for a
// hash, and what came after them: done one at a time, in order, by a goroutine
// that lives until none is left.
type jobs struct {
	mu      sync.Mutex
	queue   []job
	working bool
	stopped bool
	closed  bool
	cancel  context.CancelFunc          // of the one being done
	apart   map[*job]context.CancelFunc // of what waits without holding up what comes after it
	done    sync.WaitGroup
}

// job is something to be done, as far as it waits by a certain time.
type job struct {
	do    func(context.Context)
	by    time.Time // zero: whenever
	state *request  // a STATE, which one before it may take along; else nil
}

// add has f done after all that was added before, its waiting ended by a
// certain time if that is not zero. It returns false, and does nothing, once
// the jobs are closed.
func (j *jobs) add(f func(context.Context), by time.Time) bool {
	return j.addJob(job{do: f, by: by})
}

func (j *jobs) addJob(next job) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false
	}
	j.queue = append(j.queue, next)
	if !j.working {
		j.working = true
		j.done.Go(j.work)
	}
	return true
}

// takeStates takes out the STATEs that come next, up to the first other job.
func (j *jobs) takeStates() (states []*request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.queue) > 0 && j.queue[0].state != nil {
		states = append(states, j.queue[0].state)
		j.queue = j.queue[1:]
	}
	return states
}

// aside has f done at once, by a goroutine of its own.
func (j *jobs) aside(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.done.Go(f)
	}
}

// maxApart is how many requests of a connection wait for other sites at a time
// without holding up what comes after them.
const maxApart = 256

// detach has the rest of the present job, which waits for other sites, done by
// a goroutine of its own, so that the next job can begin. Where very many of a
// connection wait it does it at once, and holds up that connection.
func (j *jobs) detach(f func(context.Context), by time.Time) {
	part := &job{do: f, by: by}
	ctx, cancel := part.context()
	j.mu.Lock()
	if j.stopped {
		cancel()
	}
	full := len(j.apart) >= maxApart
	if j.apart == nil {
		j.apart = make(map[*job]context.CancelFunc)
	}
	j.apart[part] = cancel
	if !full {
		j.done.Go(func() { j.finish(ctx, part) })
	}
	j.mu.Unlock()
	if full {
		j.finish(ctx, part)
	}
}

// finish does what was detached.
func (j *jobs) finish(ctx context.Context, part *job) {
	part.do(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.apart[part]()
	if delete(j.apart, part); len(j.apart) == 0 {
		j.apart = nil
	}
}

// busy reports whether a job is not done.
func (j *jobs) busy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.working
}

func (j *jobs) work() {
	for f, ctx := j.next(); f != nil; f, ctx = j.next() {
		f(ctx)
	}
}

// next ends the job that was done, and takes the next.
func (j *jobs) next() (func(context.Context), context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cancel != nil {
		j.cancel()
		j.cancel = nil
	}
	if len(j.queue) == 0 {
		j.queue = nil
		j.working = false
		return nil, nil
	}
	next := j.queue[0]
	j.queue = j.queue[1:]
	var ctx context.Context
	ctx, j.cancel = next.context()
	if j.stopped {
		j.cancel()
	}
	return next.do, ctx
}

func (j job) context() (context.Context, context.CancelFunc) {
	if j.by.IsZero() {
		return context.WithCancel(context.Background())
	}
	return context.WithDeadline(context.Background(), j.by)
}

// stop ends the waiting of the jobs that are left, and of those to come.
func (j *jobs) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stopped = true
	if j.cancel != nil {
		j.cancel()
	}
	for _, cancel := range j.apart {
		cancel()
	}
}

// close takes no more jobs, and waits until all are done.
func (j *jobs) close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.done.Wait()
}
