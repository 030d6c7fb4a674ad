package store_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// sizes are the numbers of listening users that are measured.
var sizes = []int{1000, 1_000_000}

var nodes = []string{"n1", "n2", "n3"}

// filled is a table of that size on three nodes; big ones are made once.
func filled(b *testing.B, n int) (*site, []uint64) {
	s := newSite(b, store.Config{})
	epochs := make([]uint64, len(nodes))
	for i, node := range nodes {
		epochs[i] = s.up(node, 1)
	}
	s.fill(n, nodes, epochs)
	return s, epochs
}

func eachSize(b *testing.B, run func(b *testing.B, s *site, n int)) {
	for _, n := range sizes {
		var s *site
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if s == nil {
				s, _ = filled(b, n)
			}
			s.TB = b
			b.ReportAllocs()
			b.ResetTimer()
			run(b, s, n)
		})
	}
}

func BenchmarkRoutes(b *testing.B) {
	eachSize(b, func(b *testing.B, s *site, n int) {
		var buf [2]store.Session
		users := users(n)
		for i := 0; b.Loop(); i++ {
			if len(s.Routes(buf[:0], users[i%len(users)])) != 1 {
				b.Fatal("no route")
			}
		}
	})
}

func BenchmarkPresence(b *testing.B) {
	eachSize(b, func(b *testing.B, s *site, n int) {
		users := users(n)
		for i := 0; b.Loop(); i++ {
			s.Presence(users[i%len(users)])
		}
	})
}

func BenchmarkListener(b *testing.B) {
	eachSize(b, func(b *testing.B, s *site, n int) {
		users := users(n)
		for i := 0; b.Loop(); i++ {
			s.Listener(users[i%len(users)])
		}
	})
}

// BenchmarkBind applies entries of 128 changes: a third of the users, in no
// order, end their sessions and listen again.
func BenchmarkBind(b *testing.B) {
	eachSize(b, func(b *testing.B, s *site, n int) {
		node, _ := s.Node(nodes[0])
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			e := relisten(s, i*64*len(nodes)%n, node.Epoch)
			b.StartTimer()
			if _, err := s.Apply(e); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(128*float64(b.N)/b.Elapsed().Seconds(), "changes/s")
	})
}

// relisten is an entry in which 64 users of the first node, from the i-th on,
// leave and come again.
func relisten(s *site, i int, epoch uint64) *storev1.Entry {
	batch := &storev1.Batch{TimeMs: s.clock}
	for range 64 {
		bind := bindAt(i, nodes[0], epoch)
		batch.Change = append(batch.Change, release(bind.GetBind()), bind)
		i += len(nodes)
	}
	return &storev1.Entry{Batch: []*storev1.Batch{batch}}
}

func BenchmarkSnapshotPause(b *testing.B) {
	eachSize(b, func(b *testing.B, s *site, n int) {
		epoch, _ := s.Node("n1")
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			c := bindAt(0, "n1", epoch.Epoch)
			c.GetBind().State = storev1.State(1 + i%3)
			s.apply(c)
			b.StartTimer()
			s.Snapshot()
		}
	})
}

func BenchmarkSnapshotWrite(b *testing.B) {
	eachSize(b, func(b *testing.B, s *site, n int) {
		var octets int64
		for b.Loop() {
			octets, _ = s.Snapshot().WriteTo(io.Discard)
		}
		b.ReportMetric(float64(octets), "octets")
	})
}

func BenchmarkRestore(b *testing.B) {
	eachSize(b, func(b *testing.B, s *site, n int) {
		var w bytes.Buffer
		s.Snapshot().WriteTo(&w)
		for b.Loop() {
			if err := store.New(store.Config{}).Restore(bytes.NewReader(w.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDigest(b *testing.B) {
	eachSize(b, func(b *testing.B, s *site, n int) {
		for b.Loop() {
			s.View().Digest()
		}
	})
}

// BenchmarkNodeDown ends a node that holds a third, and reaps it in pieces of
// 512. It reports both, the longest piece, and how long all of them took.
func BenchmarkNodeDown(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var down, longest, all time.Duration
			for range b.N {
				b.StopTimer()
				s, epochs := filled(b, n)
				runtime.GC()
				b.StartTimer()
				begin := time.Now()
				s.must(ended(nodes[0], epochs[0]))
				down += time.Since(begin)
				for begin = time.Now(); ; {
					piece := time.Now()
					r := s.must(reap(nodes[0], 512))
					longest = max(longest, time.Since(piece))
					if !r.More {
						break
					}
				}
				all += time.Since(begin)
			}
			b.ReportMetric(float64(down.Nanoseconds())/float64(b.N), "down-ns")
			b.ReportMetric(float64(longest.Microseconds()), "longest-piece-µs")
			b.ReportMetric(float64(all.Milliseconds())/float64(b.N), "reap-ms")
		})
	}
}

// BenchmarkMemory reports what one listening user costs, beside the account,
// in a table with the whole history.
func BenchmarkMemory(b *testing.B) {
	const n = 1_000_000
	for range b.N {
		s := newSite(b, store.Config{})
		epoch := s.up("n1", 1)
		for i := 0; i < n; i += 500 {
			changes := make([]*storev1.Change, 500)
			for j := range changes {
				changes[j] = setList(user(i + j))
			}
			s.apply(changes...)
		}
		before := heap()
		for i := 0; i < n; i += 500 {
			changes := make([]*storev1.Change, 500)
			for j := range changes {
				changes[j] = bindAt(i+j, "n1", epoch)
			}
			s.apply(changes...)
		}
		b.ReportMetric(float64(heap()-before)/n, "octets/listener")
		b.ReportMetric(float64(before)/n, "octets/account")
		runtime.KeepAlive(s)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
