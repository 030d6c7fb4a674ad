package netio

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// narrow is a wire that takes as many octets as it likes, and sometimes none.
type narrow struct {
	mu     sync.Mutex
	random *rand.Rand
	took   bytes.Buffer
	moved  atomic.Uint64
	closed bool
	open   chan struct{} // what wait waits for
}

func newNarrow(seed uint64) *narrow {
	return &narrow{random: rand.New(rand.NewPCG(seed, 1)), open: make(chan struct{})}
}

func (w *narrow) Write(b []byte) (int, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(b)
	if w.random.IntN(3) == 0 {
		n = w.random.IntN(len(b) + 1)
	}
	w.took.Write(b[:n])
	w.moved.Add(uint64(n))
	return n, n == len(b), nil
}

func (w *narrow) WaitWritable() error {
	<-w.open
	return nil
}

func (w *narrow) Read() ([]byte, bool, error) { select {} }
func (w *narrow) IsBlocking() bool            { return false }
func (w *narrow) BatchSize() int              { return 200 }
func (w *narrow) SentOctets() uint64          { return w.moved.Load() }
func (w *narrow) CloseWrite() error           { w.closed = true; return nil }

type silentOwner struct{ held atomic.Int64 }

func (o *silentOwner) OnReadable([]byte) bool { return false }
func (o *silentOwner) OnBehind()              {}
func (o *silentOwner) Abort()                 {}
func (o *silentOwner) AddMemory(n int)        { o.held.Add(int64(n)) }
func (o *silentOwner) AllowsQueued(int) bool  { return true }

func newTestOutbox(w Transport) (*outbox, *silentOwner) {
	owner := &silentOwner{}
	return &outbox{transport: w, coalescer: &coalescer{}, handler: owner}, owner
}

// Whatever the wire takes, and whoever puts in: what is written are whole
// frames, each once, those of one goroutine in their order.
func TestOutboxWritesWholeFramesInOrder(t *testing.T) {
	for seed := range uint64(50) {
		w := newNarrow(seed)
		close(w.open)
		o, owner := newTestOutbox(w)
		var putting sync.WaitGroup
		for who := range 4 {
			putting.Go(func() {
				for i := range 100 {
					o.enqueue(frame{octets: fmt.Appendf(nil, "%d %d %s\r\n", who, i, strings.Repeat("x", i))})
					if i%3 == 0 {
						o.flush()
					}
				}
				o.flush()
			})
		}
		putting.Wait()
		o.enqueue(frame{octets: []byte("end\r\n"), last: true})
		o.flush()
		o.AwaitDrained()
		checkFrames(t, w.took.String())
		if !w.closed || owner.held.Load() != 0 {
			t.Fatalf("closed %v, %d octets still count", w.closed, owner.held.Load())
		}
	}
}

func checkFrames(t *testing.T, took string) {
	t.Helper()
	next := map[int]int{}
	lines := strings.SplitAfter(took, "\r\n")
	if n := len(lines); n != 402 || lines[400] != "end\r\n" {
		t.Fatalf("%d lines, at last %q", n, lines[n-2])
	}
	for _, line := range lines[:400] {
		var who, i int
		if _, err := fmt.Sscanf(line, "%d %d", &who, &i); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d %d %s\r\n", who, next[who], strings.Repeat("x", next[who])); line != want {
			t.Fatalf("got %q, want %q", line, want)
		}
		next[who]++
	}
}

// What one reader leads to is written once to each client.
func TestGatherWritesOnce(t *testing.T) {
	w := &counting{}
	o, _ := newTestOutbox(w)
	o.coalescer.cork()
	for range 10 {
		o.enqueue(frame{octets: []byte("x\r\n")})
		o.flush()
	}
	if w.writes != 0 {
		t.Errorf("%d writes before the end", w.writes)
	}
	o.coalescer.uncork()
	if w.writes != 1 || w.octets != 30 {
		t.Errorf("%d writes of %d octets", w.writes, w.octets)
	}
}

// counting is a wire that takes everything.
type counting struct{ writes, octets int }

func (w *counting) Write(b []byte) (int, bool, error) {
	w.writes++
	w.octets += len(b)
	return len(b), true, nil
}
func (w *counting) WaitWritable() error         { return nil }
func (w *counting) Read() ([]byte, bool, error) { select {} }
func (w *counting) IsBlocking() bool            { return false }
func (w *counting) BatchSize() int              { return BufferSize }
func (w *counting) SentOctets() uint64          { return uint64(w.octets) }
func (w *counting) CloseWrite() error           { return nil }

// What is closing is not frozen, so that whoever waits for the last line goes
// on.
func TestOutboxThatClosesIsNotFrozen(t *testing.T) {
	w := newNarrow(1)
	close(w.open)
	o, _ := newTestOutbox(w)
	o.enqueue(frame{octets: []byte("* BYE\r\n"), last: true})
	if o.Freeze() {
		t.Error("it is frozen")
	}
	o.AwaitDrained()
	if got := w.took.String(); got != "* BYE\r\n" {
		t.Errorf("%q is written", got)
	}
}
