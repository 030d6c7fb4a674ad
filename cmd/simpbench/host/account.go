//go:build linux

package host

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor time that the process has used, in user mode and
// in the kernel, all its threads together: the process's own clock
// (clock_getcpuclockid(3)), exact to the nanosecond.
func (p *Process) CPU() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(cpuClock(p.PID()), &t); err != nil {
		return 0, fmt.Errorf("read the processor time of %s: %w", p.Name, err)
	}
	return time.Duration(t.Nano()), nil
}

// ThreadCPU returns the processor time that the calling thread has used. Who
// takes the difference of two is to stay on one thread: runtime.LockOSThread.
func ThreadCPU() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read a thread's processor time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// cpuClock names the clock of a process as the kernel does: the complement of
// its number, and below it two (CPUCLOCK_SCHED) in three bits.
func cpuClock(pid int) int32 {
	const sched, bits = 2, 3
	return int32(^pid<<bits | sched)
}

// Memory holds the memory use of a process, in octets.
type Memory struct {
	Resident  int64 // RSS: all that is in memory
	Anonymous int64 // of it, what no file backs: heaps and stacks
	Peak      int64 // the most that was ever resident
}

// Memory reads /proc/PID/status.
func (p *Process) Memory() (Memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return Memory{}, fmt.Errorf("read the memory of %s: %w", p.Name, err)
	}
	m := Memory{Resident: kibibytes(b, "VmRSS:"), Anonymous: kibibytes(b, "RssAnon:"), Peak: kibibytes(b, "VmHWM:")}
	if m.Resident == 0 {
		return m, fmt.Errorf("read the memory of %s: the process has ended", p.Name)
	}
	return m, nil
}

// kibibytes finds "KEY  123 kB" in a status file and returns the octets, or 0.
func kibibytes(status []byte, key string) int64 {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 3 && words[0] == key {
			n, _ := strconv.ParseInt(words[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
