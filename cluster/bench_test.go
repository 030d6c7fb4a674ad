package cluster

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"simpd/store"
)

// BenchmarkPropose is how many changes a second a site of one makes, with its
// log on a disk: for one caller, and for many.
func BenchmarkPropose(b *testing.B) {
	for _, callers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) { proposeFrom(b, callers) })
	}
}

func proposeFrom(b *testing.B, callers int) {
	r := newReceiver()
	n, err := Open(Config{
		NodeID: "n1", Site: "example.com", DataDir: filepath.Join(b.TempDir(), "data"), Table: store.New(store.Config{}),
		Receiver: r, Timing: Dev, BootstrapExpect: 1, Fatal: func(err error) { b.Error(err) },
	})
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	<-r.up
	var name atomic.Int64
	b.SetParallelism(callers)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		change := account(fmt.Sprintf("u%d@example.com", name.Add(1)))
		for pb.Next() {
			if _, err := n.Propose(b.Context(), change); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkConfirm is how many confirmed look-ups a second a leader answers.
func BenchmarkConfirm(b *testing.B) {
	r := newReceiver()
	n, err := Open(Config{NodeID: "n1", Site: "example.com", Table: store.New(store.Config{}), Receiver: r, Timing: Dev, BootstrapExpect: 1, Fatal: func(error) {}})
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	<-r.up
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := n.ReadBarrier(b.Context()); err != nil {
				b.Error(err)
			}
		}
	})
}
