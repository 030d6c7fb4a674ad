package netio

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// eventLoop reads for all its connections in one goroutine, so that an idle
// connection has neither a goroutine nor a stack nor a buffer. It waits for
// all of them with one edge-triggered epoll instance, which itself is
// registered with the runtime's poller like any connection. Output caused by
// one round of reading is coalesced and written at the end of the round.
type eventLoop struct {
	epoll     *os.File
	raw       syscall.RawConn
	wakeFD    int // an eventfd, for scheduled
	coalescer *coalescer

	mu        sync.Mutex
	sockets   []socketSlot
	free      []uint32 // unused indexes of sockets
	scheduled []*socket
	stopped   bool

	// Of the loop's goroutine.
	events  []unix.EpollEvent
	pending []socketEvent
	buf     []byte
}

// socketSlot maps the data of an event to a socket. The number increases with
// each socket that uses the slot, so that an event of an earlier one is
// ignored.
type socketSlot struct {
	socket *socket
	number uint32
}

// socketEvent is an event of a socket, from the kernel or from schedule.
type socketEvent struct {
	socket *socket
	events uint32
}

const (
	maxEvents   = 512 // received from the kernel at a time
	maxGathered = 64  // sockets read before the output is written
)

// interest is the set of events registered for each socket, once. Each change
// is reported once.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

func newEventLoop(g *coalescer) (*eventLoop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l := &eventLoop{coalescer: g, events: make([]unix.EpollEvent, maxEvents), buf: make([]byte, 4*BufferSize)}
	if l.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err = l.attachEpoll(fd); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// attachEpoll registers the epoll instance with the runtime's poller.
func (l *eventLoop) attachEpoll(fd int) (err error) {
	if err = unix.SetNonblock(fd, true); err != nil { // or the runtime would not poll it
		_ = unix.Close(fd)
		return fmt.Errorf("epoll: %w", err)
	}
	l.epoll = os.NewFile(uintptr(fd), "epoll")
	if l.raw, err = l.epoll.SyscallConn(); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return l.register(l.wakeFD, unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1})
}

func (l *eventLoop) close() {
	if l.epoll != nil {
		_ = l.epoll.Close()
	}
	_ = unix.Close(l.wakeFD)
}

// register registers fd with epoll.
func (l *eventLoop) register(fd int, e unix.EpollEvent) error {
	var err error
	if control := l.raw.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, &e)
	}); control != nil {
		return control
	}
	return err
}

// add registers s: from now on it receives events.
func (l *eventLoop) add(s *socket) error {
	l.mu.Lock()
	if n := len(l.free); n > 0 {
		s.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s.slot = uint32(len(l.sockets))
		l.sockets = append(l.sockets, socketSlot{})
	}
	at := &l.sockets[s.slot]
	at.number++
	at.socket = s
	e := unix.EpollEvent{Events: interest, Fd: int32(s.slot), Pad: int32(at.number)}
	l.mu.Unlock()
	err := l.register(s.fd, e)
	if err != nil {
		l.remove(s)
	}
	return err
}

// remove forgets s, which is about to be closed.
func (l *eventLoop) remove(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sockets[s.slot].socket = nil
	l.free = append(l.free, s.slot)
}

// schedule lets s be read soon, as if data had arrived.
func (l *eventLoop) schedule(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	if l.scheduled = append(l.scheduled, s); len(l.scheduled) == 1 {
		l.wakeLocked()
	}
}

// wakeLocked ends the loop's waiting. The loop must not be stopped, because
// the number of its eventfd may then belong to another file.
func (l *eventLoop) wakeLocked() {
	_, _ = unix.Write(l.wakeFD, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full: it is woken already
}

// stop ends run. No socket may be left.
func (l *eventLoop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakeLocked()
	l.stopped = true
}

// run dispatches events until stop.
func (l *eventLoop) run() {
	defer l.close()
	_ = l.raw.Read(l.poll) // returns after stop
}

// poll handles all pending events, and returns true when the loop has ended.
// The runtime's poller calls it again when something has happened. Between
// calls other goroutines run, above all those that wait in the runtime's
// poller too.
func (l *eventLoop) poll(epoll uintptr) (ended bool) {
	for {
		n := l.collectEvents(int(epoll))
		for start := 0; start < len(l.pending); start += maxGathered {
			l.dispatch(l.pending[start:min(start+maxGathered, len(l.pending))])
		}
		if n < maxEvents {
			break
		}
		runtime.Gosched()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// collectEvents stores the pending events, and returns how many the kernel
// reported.
func (l *eventLoop) collectEvents(epoll int) int {
	n := epollWait(epoll, l.events)
	clear(l.pending)
	l.pending = l.pending[:0]
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events[:n] {
		if e.Fd < 0 {
			continue
		}
		if at := l.sockets[e.Fd]; at.socket != nil && at.number == uint32(e.Pad) {
			l.pending = append(l.pending, socketEvent{at.socket, e.Events})
		}
	}
	for _, s := range l.scheduled {
		l.pending = append(l.pending, socketEvent{s, unix.EPOLLIN})
	}
	clear(l.scheduled)
	l.scheduled = l.scheduled[:0]
	return n
}

// dispatch handles some events, and writes the resulting output.
func (l *eventLoop) dispatch(some []socketEvent) {
	l.coalescer.cork()
	defer l.coalescer.uncork()
	for _, h := range some {
		if again := h.socket.onEvent(h.events, l.buf); again {
			l.schedule(h.socket) // behind the others
		}
	}
}

// eventLoops are the event loops of a server, started with the first
// connection.
type eventLoops struct {
	once sync.Once
	all  []*eventLoop
	err  error
	next atomic.Uint32
	done sync.WaitGroup
}

// pick returns one of the loops.
func (ls *eventLoops) pick(g *coalescer) (*eventLoop, error) {
	ls.once.Do(func() { ls.err = ls.start(g) })
	if ls.err != nil {
		return nil, ls.err
	}
	return ls.all[int(ls.next.Add(1))%len(ls.all)], nil
}

func (ls *eventLoops) start(g *coalescer) error {
	for range runtime.GOMAXPROCS(0) {
		l, err := newEventLoop(g)
		if err != nil {
			ls.stop()
			return err
		}
		ls.all = append(ls.all, l)
		ls.done.Go(l.run)
	}
	return nil
}

// stop stops the loops. None is started afterwards.
func (ls *eventLoops) stop() {
	ls.once.Do(func() { ls.err = errors.New("the server is shut down") })
	for _, l := range ls.all {
		l.stop()
	}
	ls.done.Wait()
}
