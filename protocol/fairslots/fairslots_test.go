package fairslots

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Networks take turns, and within one of them whoever came first.
func TestNetworksTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New()
		f.free = 2
		many, other := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
		acquire := func(network netip.Prefix) {
			if err := f.Acquire(context.Background(), network); err != nil {
				t.Error(err)
			}
		}
		came := make(chan int)
		wait := func(network netip.Prefix, who int) {
			go func() {
				acquire(network)
				came <- who
			}()
			synctest.Wait()
		}
		acquire(many)
		acquire(many)
		for i := range 4 {
			wait(many, i)
		}
		wait(other, 10)
		wait(other, 11)
		var order []int
		for range 6 {
			f.Release()
			order = append(order, <-came)
		}
		if !slices.Equal(order, []int{0, 10, 1, 11, 2, 3}) {
			t.Errorf("the order was %v", order)
		}
		f.Release()
		f.Release()
		if f.free != 2 || len(f.waiting) > 0 || len(f.order) > 0 {
			t.Errorf("%d slots are free, %d networks wait", f.free, len(f.waiting))
		}
	})
}

// Whoever gives up waiting takes no turn from others, and leaves nothing.
func TestWaitingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New()
		f.free = 0
		first, second := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
		ended := make(chan error)
		wait := func(ctx context.Context, network netip.Prefix) {
			go func() { ended <- f.Acquire(ctx, network) }()
			synctest.Wait()
		}
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait(late, first)
		wait(late, first)
		wait(t.Context(), first)
		wait(late, second)
		for range 3 {
			if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if n := f.Waiting(); n != 1 || len(f.order) != 1 {
			t.Errorf("%d wait, of %v", n, f.order)
		}
		f.Release()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		f.Release()
		if err := f.Acquire(late, first); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an ended context took a free slot: %v", err)
		}
		if f.free != 1 || f.Waiting() != 0 {
			t.Errorf("%d slots are free, %d wait", f.free, f.Waiting())
		}
	})
}
