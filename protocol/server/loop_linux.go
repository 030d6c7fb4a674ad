package server

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop reads for all connections that were given to it, in one goroutine:
// while nothing comes a connection has neither a goroutine nor a stack nor a
// buffer. It waits for all of them at once (epoll, edge-triggered), and itself
// as any connection does, in the runtime's poller. What a round of reading
// leads to is gathered, and written at its end, once to each client.
type loop struct {
	epoll  *os.File
	raw    syscall.RawConn
	wake   int // an eventfd, for what is posted
	gather *gather

	mu      sync.Mutex
	sockets []slot
	free    []uint32 // places in sockets
	posted  []*socket
	stopped bool

	// Of the loop's goroutine.
	events []unix.EpollEvent
	round  []happened
	buf    []byte
}

// slot is where a socket is found by what an event bears. Its number grows
// with each socket that takes the place: an event of one that has left it
// meanwhile is nobody's.
type slot struct {
	socket *socket
	number uint32
}

// happened is what the kernel, or whoever posted, said of a socket.
type happened struct {
	socket *socket
	events uint32
}

const (
	maxEvents   = 512 // taken from the kernel at a time
	maxGathered = 64  // sockets read before what that leads to is written
)

// interest is what is asked about each socket, once and for all: each change
// is told once.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

func newLoop(g *gather) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l := &loop{gather: g, events: make([]unix.EpollEvent, maxEvents), buf: make([]byte, 4*bufferSize)}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err = l.open(fd); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// open puts the epoll instance into the runtime's poller.
func (l *loop) open(fd int) (err error) {
	if err = unix.SetNonblock(fd, true); err != nil { // or the runtime would not poll it
		_ = unix.Close(fd)
		return fmt.Errorf("epoll: %w", err)
	}
	l.epoll = os.NewFile(uintptr(fd), "epoll")
	if l.raw, err = l.epoll.SyscallConn(); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return l.ask(l.wake, unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1})
}

func (l *loop) close() {
	if l.epoll != nil {
		_ = l.epoll.Close()
	}
	_ = unix.Close(l.wake)
}

// ask tells the kernel what is to be told of fd.
func (l *loop) ask(fd int, e unix.EpollEvent) error {
	var err error
	if control := l.raw.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, &e)
	}); control != nil {
		return control
	}
	return err
}

// add takes s on: from now on it is told what happens to it.
func (l *loop) add(s *socket) error {
	l.mu.Lock()
	if n := len(l.free); n > 0 {
		s.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s.slot = uint32(len(l.sockets))
		l.sockets = append(l.sockets, slot{})
	}
	at := &l.sockets[s.slot]
	at.number++
	at.socket = s
	e := unix.EpollEvent{Events: interest, Fd: int32(s.slot), Pad: int32(at.number)}
	l.mu.Unlock()
	err := l.ask(s.fd, e)
	if err != nil {
		l.remove(s)
	}
	return err
}

// remove forgets s, which is about to be closed.
func (l *loop) remove(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sockets[s.slot].socket = nil
	l.free = append(l.free, s.slot)
}

// post has s looked at soon, as if something had come.
func (l *loop) post(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	if l.posted = append(l.posted, s); len(l.posted) == 1 {
		l.rouse()
	}
}

// rouse ends the loop's waiting. l.mu is held, and the loop not stopped: else
// the number of its eventfd may be another file's by now.
func (l *loop) rouse() {
	_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full: it is roused already
}

// stop ends run. No socket may be left.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rouse()
	l.stopped = true
}

// run tells sockets what happens, until stop.
func (l *loop) run() {
	defer l.close()
	_ = l.raw.Read(l.turn) // ends with stop: nobody closes it
}

// turn takes all that happened; true: the loop has ended. It is called again
// once something has happened that it was not told. Others have their turn in
// between, those foremost who wait in the runtime's poller too.
func (l *loop) turn(epoll uintptr) (ended bool) {
	for {
		n := l.take(int(epoll))
		for start := 0; start < len(l.round); start += maxGathered {
			l.tell(l.round[start:min(start+maxGathered, len(l.round))])
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

// take fills the round with what happened, and returns how much the kernel told.
func (l *loop) take(epoll int) int {
	n := epollNow(epoll, l.events)
	clear(l.round)
	l.round = l.round[:0]
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events[:n] {
		if e.Fd < 0 {
			continue
		}
		if at := l.sockets[e.Fd]; at.socket != nil && at.number == uint32(e.Pad) {
			l.round = append(l.round, happened{at.socket, e.Events})
		}
	}
	for _, s := range l.posted {
		l.round = append(l.round, happened{s, unix.EPOLLIN})
	}
	clear(l.posted)
	l.posted = l.posted[:0]
	return n
}

// epollNow takes what has happened, without waiting, and returns how much it
// is. The runtime is not told of the call, as in readFD: where little happens it
// would have its monitor woken each time, on the processor that has work to do.
func epollNow(epoll int, events []unix.EpollEvent) int {
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0 // it can't fail on these files; the runtime's poller would still have the news
	}
	return int(n)
}

// tell tells some sockets what happened, and writes what came of it.
func (l *loop) tell(some []happened) {
	l.gather.begin()
	defer l.gather.end()
	for _, h := range some {
		if again := h.socket.happened(h.events, l.buf); again {
			l.post(h.socket) // behind the others
		}
	}
}

// loops are a server's, made as the first connection wants one.
type loops struct {
	once sync.Once
	all  []*loop
	err  error
	next atomic.Uint32
	done sync.WaitGroup
}

// pick returns a loop that runs.
func (ls *loops) pick(g *gather) (*loop, error) {
	ls.once.Do(func() { ls.err = ls.start(g) })
	if ls.err != nil {
		return nil, ls.err
	}
	return ls.all[int(ls.next.Add(1))%len(ls.all)], nil
}

func (ls *loops) start(g *gather) error {
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop(g)
		if err != nil {
			ls.stop()
			return err
		}
		ls.all = append(ls.all, l)
		ls.done.Go(l.run)
	}
	return nil
}

// stop ends the loops. None is made any more.
func (ls *loops) stop() {
	ls.once.Do(func() { ls.err = errors.New("the server is shut down") })
	for _, l := range ls.all {
		l.stop()
	}
	ls.done.Wait()
}
