package wait

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if slept := Sleep(t.Context(), time.Hour); !slept || time.Since(began) != time.Hour {
			t.Errorf("Sleep returned %t after %v", slept, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		if slept := Sleep(ctx, time.Hour); slept || time.Since(began) != time.Minute {
			t.Errorf("with a context that ends, Sleep returned %t after %v", slept, time.Since(began))
		}
	})
}

func TestWatermark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Watermark
		if err := w.Await(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		reached := map[uint64]*atomic.Bool{2: {}, 3: {}, 5: {}}
		for at, to := range reached {
			go func() {
				if err := w.Await(t.Context(), at); err != nil {
					t.Error(err)
				}
				to.Store(true)
			}()
		}
		w.Advance(1)
		w.Advance(3)
		w.Advance(2) // changes nothing
		synctest.Wait()
		if !reached[2].Load() || !reached[3].Load() || reached[5].Load() || w.Value() != 3 {
			t.Errorf("at %d: 2 reached %t, 3 reached %t, 5 reached %t", w.Value(), reached[2].Load(), reached[3].Load(), reached[5].Load())
		}
		w.Set(1)
		if w.Value() != 1 {
			t.Errorf("set to 1, the mark is %d", w.Value())
		}
		w.Set(6)
		synctest.Wait()
		if !reached[5].Load() {
			t.Error("5 was not reached at 6")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Await(ctx, 7); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("7 was waited for until %v", err)
		}
	})
}

func TestBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Broadcast
		b.Notify() // nobody waits
		first, second := b.Changed(), b.Changed()
		select {
		case <-first:
			t.Fatal("a notification from before counted")
		default:
		}
		b.Notify()
		<-first
		<-second

		var ready atomic.Bool
		ended := make(chan error, 1)
		go func() { ended <- b.Await(t.Context(), ready.Load) }()
		synctest.Wait()
		b.Notify()
		synctest.Wait()
		if len(ended) > 0 {
			t.Error("Await returned before it was ready")
		}
		ready.Store(true)
		b.Notify()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Await(ctx, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Await returned %v", err)
		}
	})
}

func TestSignal(t *testing.T) {
	s := NewSignal()
	s.Notify()
	s.Notify()
	<-s
	select {
	case <-s:
		t.Error("two notifications counted twice")
	default:
	}
}
