package main

import (
	"bufio"
	"math"
	"strings"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	for text, want := range map[string]int64{
		"1073741824\n": 966367638, "max\n": 0, "": 0, "-1": 0, "99999999999999999999": 0,
	} {
		if got, ok := memoryLimit(text); got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %v; want %d", text, got, ok, want)
		}
	}
}

func TestHeldLimit(t *testing.T) {
	for limit, want := range map[int64]int64{math.MaxInt64: 0, 8 << 30: 0, 256 << 20: 64 << 20} {
		if got := heldLimit(limit); got != want {
			t.Errorf("%d: %d; want %d", limit, got, want)
		}
	}
	if isMemoryShort(math.MaxInt64) || isMemoryShort(64<<30) || !isMemoryShort(10) {
		t.Error("crowded where there is room, or not where there is none")
	}
}

func TestWatchMemory(t *testing.T) {
	for limit, want := range map[int64]int64{math.MaxInt64: 256 << 20, 8 << 30: 256 << 20, 512 << 20: 64 << 20, 64 << 20: 32 << 20} {
		if got := watchMemory(limit); got != want {
			t.Errorf("%d: %d; want %d", limit, got, want)
		}
	}
}

// TestNoMemoryForMore: a node that has used up its memory says so to those who
// come, before anything is spent on them.
func TestNoMemoryForMore(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "1MiB")
	n := &testNode{start(t, "simpd", append([]string{"serve"}, insecureArgs(t.TempDir())...)...), "n1", ""}
	n.await(n.err, "option=simp-listen ")
	conn := dial(t, n.address("simp-listen"))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "* BYE status=503 :") || !strings.Contains(line, "memory") {
		t.Errorf("greeted with %q, %v", line, err)
	}
}
