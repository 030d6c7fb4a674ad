package histogram

import (
	"sync"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	var d Durations
	var adding sync.WaitGroup
	for range 4 {
		adding.Go(func() {
			for _, took := range []time.Duration{0, 100 * time.Microsecond, 101 * time.Microsecond, 3 * time.Second, time.Minute} {
				d.Observe(took)
			}
		})
	}
	adding.Wait()
	count, sum, upTo := d.Snapshot()
	if count != 20 || sum < 4*63 || sum > 4*63.001 {
		t.Errorf("%d in %v s", count, sum)
	}
	for bound, want := range map[float64]uint64{0.0001: 8, 0.00025: 12, 2.5: 12, 5: 16, 10: 16} {
		if upTo[bound] != want {
			t.Errorf("%d took up to %v s, want %d", upTo[bound], bound, want)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	var d Durations
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d.Observe(3 * time.Millisecond)
		}
	})
}
