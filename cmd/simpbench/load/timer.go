//go:build linux

package load

import (
	"container/heap"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// timers are functions to be called, the next first.
type timers struct{ queue timerQueue }

type timer struct {
	at time.Time
	f  func()
}

func (t *timers) add(at time.Time, f func()) { heap.Push(&t.queue, timer{at, f}) }

// fire calls what is due at now, what is added meanwhile too.
func (t *timers) fire(now time.Time) {
	for len(t.queue) > 0 && !t.queue[0].at.After(now) {
		heap.Pop(&t.queue).(timer).f()
	}
}

// until returns how long to wait: to the next timer, but not beyond end.
func (t *timers) until(now, end time.Time) time.Duration {
	if len(t.queue) > 0 && t.queue[0].at.Before(end) {
		return t.queue[0].at.Sub(now)
	}
	return end.Sub(now)
}

type timerQueue []timer

func (q timerQueue) Len() int           { return len(q) }
func (q timerQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q timerQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *timerQueue) Push(x any)        { *q = append(*q, x.(timer)) }
func (q *timerQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// epollWait is epoll_pwait2(2), whose time is not rounded to milliseconds.
func epollWait(fd int, events []unix.EpollEvent, d time.Duration) (int, error) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(fd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&t)), 0, 0)
	if errno == unix.ENOSYS { // Linux before 5.11
		return unix.EpollWait(fd, events, int(d.Milliseconds()))
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
