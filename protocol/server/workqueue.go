package server

import (
	"context"
	"sync"
	"time"
)

// workQueue runs a session's requests that may block, and those that follow
// them: one at a time, in order, in a goroutine that exists only while there
// are tasks.
type workQueue struct {
	mu       sync.Mutex
	tasks    []task
	working  bool
	stopped  bool
	closed   bool
	cancel   context.CancelFunc // of the running task
	detached *detachedTasks     // nil: none
	done     sync.WaitGroup
}

// detachedTasks holds the tasks that do not block later ones.
type detachedTasks struct {
	running map[*task]context.CancelFunc
	waiting []*task // to be run once fewer than maxDetached are
}

// task is a function to run, with the deadline of its context.
type task struct {
	run      func(context.Context)
	deadline time.Time // zero: none
	state    *request  // a STATE, which an earlier one may merge; else nil
}

// add queues f, whose context ends at deadline if that is not zero. It
// returns false, and does nothing, after close.
func (j *workQueue) add(f func(context.Context), by time.Time) bool {
	return j.addTask(task{run: f, deadline: by})
}

func (j *workQueue) addTask(next task) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false
	}
	j.tasks = append(j.tasks, next)
	if !j.working {
		j.working = true
		j.done.Go(j.run)
	}
	return true
}

// takeStates removes and returns the STATEs at the head of the queue.
func (j *workQueue) takeStates() (states []*request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.tasks) > 0 && j.tasks[0].state != nil {
		states = append(states, j.tasks[0].state)
		j.tasks = j.tasks[1:]
	}
	return states
}

// spawn runs f at once in a goroutine of its own.
func (j *workQueue) spawn(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.done.Go(f)
	}
}

// maxDetached limits the goroutines of a connection whose requests wait for
// other sites.
const maxDetached = 256

// detach runs the rest of the current task, which waits for other sites, in
// another goroutine, so that the next task can start. Above maxDetached it waits
// until another one has ended.
func (j *workQueue) detach(f func(context.Context), by time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	part := &task{run: f, deadline: by}
	if j.detached == nil {
		j.detached = &detachedTasks{running: make(map[*task]context.CancelFunc)}
	}
	if len(j.detached.running) >= maxDetached {
		j.detached.waiting = append(j.detached.waiting, part)
		return
	}
	ctx := j.beginDetachedLocked(part)
	j.done.Go(func() { j.runDetached(ctx, part) })
}

// beginDetachedLocked returns the context of a detached task.
func (j *workQueue) beginDetachedLocked(part *task) context.Context {
	ctx, cancel := part.context()
	if j.stopped {
		cancel()
	}
	j.detached.running[part] = cancel
	return ctx
}

// runDetached runs a detached task, and then those that wait.
func (j *workQueue) runDetached(ctx context.Context, part *task) {
	for part != nil {
		part.run(ctx)
		ctx, part = j.nextDetached(part)
	}
}

// nextDetached ends a detached task, and returns one that has waited.
func (j *workQueue) nextDetached(ended *task) (context.Context, *task) {
	j.mu.Lock()
	defer j.mu.Unlock()
	d := j.detached
	d.running[ended]()
	delete(d.running, ended)
	if len(d.waiting) == 0 {
		if d.waiting = nil; len(d.running) == 0 {
			j.detached = nil
		}
		return nil, nil
	}
	next := d.waiting[0]
	d.waiting = d.waiting[1:]
	return j.beginDetachedLocked(next), next
}

// isBusy reports whether a task is running.
func (j *workQueue) isBusy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.working
}

// awaitIdle waits until no task is running, at most for a time. It is for the
// end of a task that has done its work.
func (j *workQueue) awaitIdle(most time.Duration) {
	for end := time.Now().Add(most); j.isBusy() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

func (j *workQueue) run() {
	for f, ctx := j.nextTask(); f != nil; f, ctx = j.nextTask() {
		f(ctx)
	}
}

// nextTask ends the task that has run, and returns the next.
func (j *workQueue) nextTask() (func(context.Context), context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cancel != nil {
		j.cancel()
		j.cancel = nil
	}
	if len(j.tasks) == 0 {
		j.tasks = nil
		j.working = false
		return nil, nil
	}
	next := j.tasks[0]
	j.tasks = j.tasks[1:]
	var ctx context.Context
	ctx, j.cancel = next.context()
	if j.stopped {
		j.cancel()
	}
	return next.run, ctx
}

func (j task) context() (context.Context, context.CancelFunc) {
	if j.deadline.IsZero() {
		return context.WithCancel(context.Background())
	}
	return context.WithDeadline(context.Background(), j.deadline)
}

// cancelAll cancels the contexts of all present and future tasks.
func (j *workQueue) cancelAll() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stopped = true
	if j.cancel != nil {
		j.cancel()
	}
	if j.detached != nil {
		for _, cancel := range j.detached.running {
			cancel()
		}
	}
}

// close accepts no more tasks, and waits until all have run.
func (j *workQueue) close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.done.Wait()
}
