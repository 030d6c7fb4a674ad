package main

import (
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"

	"simpd/cluster/router"
)

// limitMemory has the garbage collector work harder, rather than the kernel
// end the process, where the memory that a control group leaves it is nearly
// used up. Without such a limit, or where GOMEMLIMIT says another, nothing is
// changed.
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

// groupLimit is the file in which Linux shows the memory limit of the process's group, as
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

// presentLimit is the limit that holds, in octets; math.MaxInt64: none.
func presentLimit() int64 { return debug.SetMemoryLimit(-1) }

// How much of the limit may go to what waits for clients, and how much may be
// in use before no more clients are taken: the collector needs room to work
// in, and those who are here need some for what they do.
const (
	heldShare    = 4 // one in so many octets
	crowdedTenth = 7
)

// heldLimit returns the limit of the octets held for all clients; 0 means the server's default.
func heldLimit(limit int64) int64 {
	if held := limit / heldShare; limit < math.MaxInt64 && held < 256<<20 {
		return held
	}
	return 0
}

// How much memory programs may hold with what they ask and are told.
const (
	programShare = 8 // one in so many octets of the limit
	maxProgram   = 64 << 20
	minProgram   = 16 << 20
)

// How much memory watches may take.
const (
	watchShare = 8 // one in so many octets of the limit
	minWatches = 32 << 20
)

// programMemory returns how many octets the calls of all programs may hold.
func programMemory(limit int64) int64 {
	return min(max(limit/programShare, minProgram), maxProgram)
}

// watchMemory returns how many octets all watches may take. The least is enough
// for sixteen clients of a user who watch a thousand contacts each.
func watchMemory(limit int64) int64 {
	return min(max(limit/watchShare, minWatches), router.DefaultWatchMemory)
}

// isMemoryShort reports whether so much memory is in use that new clients are sent to
// other nodes, rather than all of them to their end.
func isMemoryShort(limit int64) bool {
	if limit == math.MaxInt64 {
		return false
	}
	used := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(used)
	return int64(used[0].Value.Uint64()+used[1].Value.Uint64()) > limit/10*crowdedTenth
}
