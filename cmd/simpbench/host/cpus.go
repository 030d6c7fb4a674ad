//go:build linux

package host

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CPUs are numbers of processors, as the kernel counts them.
type CPUs []int

// Usable returns the processors that this process may use.
func Usable() (CPUs, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("ask for the usable processors: %w", err)
	}
	var all CPUs
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	return all, nil
}

// Split gives the servers one processor, the last, and the load generator the
// others. With a single processor both share it, and shared is true.
func (all CPUs) Split() (servers, load CPUs, shared bool) {
	if len(all) < 2 {
		return all, all, true
	}
	last := len(all) - 1
	return all[last:], all[:last], false
}

// ParseCPUs reads a list as taskset takes it: "0,2-3".
func ParseCPUs(s string) (CPUs, error) {
	var all CPUs
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || from < 0 || to < from || to >= 1024 {
			return nil, fmt.Errorf("invalid list of processors %q: must be like 0,2-3", s)
		}
		for cpu := from; cpu <= to; cpu++ {
			all = append(all, cpu)
		}
	}
	return all, nil
}

func (all CPUs) String() string {
	words := make([]string, len(all))
	for i, cpu := range all {
		words[i] = strconv.Itoa(cpu)
	}
	return strings.Join(words, ",")
}

func (all CPUs) set() *unix.CPUSet {
	var set unix.CPUSet
	for _, cpu := range all {
		set.Set(cpu)
	}
	return &set
}

// Pin moves every thread of this process to the processors; the threads and
// processes that it starts later follow.
func Pin(cpus CPUs) error {
	// Twice: a thread that began during the first pass is found by the second.
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list the threads: %w", err)
		}
		for _, t := range threads {
			if err := pinThread(t.Name(), cpus); err != nil {
				return err
			}
		}
	}
	runtime.GOMAXPROCS(len(cpus))
	return nil
}

func pinThread(id string, cpus CPUs) error {
	n, err := strconv.Atoi(id)
	if err != nil {
		return fmt.Errorf("thread %q: %w", id, err)
	}
	err = unix.SchedSetaffinity(n, cpus.set())
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("pin to processors %v: %w", cpus, err)
	}
	return nil
}

// onCPUs runs f on a thread that is pinned to the processors meanwhile, so
// that a process that f starts begins its life there.
func onCPUs(cpus CPUs, f func() error) error {
	if len(cpus) == 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("ask for the usable processors: %w", err)
	}
	if err := unix.SchedSetaffinity(0, cpus.set()); err != nil {
		return fmt.Errorf("pin to processors %v: %w", cpus, err)
	}
	err := f()
	if back := unix.SchedSetaffinity(0, &before); err == nil {
		err = back
	}
	return err
}
