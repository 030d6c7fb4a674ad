package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitMemory has the garbage collector work harder, rather than the kernel
// end the process, where the memory that a control group leaves it is nearly
// used up. Without such a limit, or where GOMEMLIMIT says another, nothing is
// changed. GOGC stays as it is: idle sessions are most of what a node holds, and
// less frequent collections would be paid for by every one of them.
func limitMemory(groupLimit string) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	text, err := os.ReadFile(groupLimit)
	if err != nil {
		return // another system, or no control groups
	}
	if limit, ok := memoryLimit(string(text)); ok {
		debug.SetMemoryLimit(limit)
	}
}

// groupLimit is where Linux says the memory limit of the process's group, as
// seen from inside a container.
const groupLimit = "/sys/fs/cgroup/memory.max"

// memoryLimit returns nine tenths of what the group may use: the rest is for
// what the runtime does not count, the pages of the log's file foremost.
func memoryLimit(text string) (limit int64, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n <= 0 {
		return 0, false // "max": there is none
	}
	return n / 10 * 9, true
}
