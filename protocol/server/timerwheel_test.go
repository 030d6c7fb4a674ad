package server

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// bell notes when it rings.
type bell struct {
	alarm timer
	rang  []time.Duration
	since time.Time
}

func (b *bell) onTimer(now time.Time) { b.rang = append(b.rang, now.Sub(b.since)) }

func TestWheelRingsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimerWheel()
		random := rand.New(rand.NewPCG(1, 2))
		bells := make([]*bell, 500)
		wants := make([]time.Duration, len(bells))
		for i := range bells {
			bells[i] = &bell{since: time.Now()}
			bells[i].alarm.init(bells[i])
			wants[i] = time.Duration(random.Int64N(int64(20 * time.Minute))) // the wheel turns in seven
			w.schedule(&bells[i].alarm, time.Now().Add(wants[i]))
			w.schedule(&bells[i].alarm, time.Now().Add(wants[i]+time.Minute)) // later: no effect
		}
		time.Sleep(21 * time.Minute)
		w.done.Wait()
		for i, b := range bells {
			if len(b.rang) != 1 || b.rang[0] < wants[i] || b.rang[0] > wants[i]+2*tick {
				t.Fatalf("alarm %d, set for %v, rang %v", i, wants[i], b.rang)
			}
		}
	})
}

func TestWheelSoonerStopAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimerWheel()
		one, two, three := &bell{since: time.Now()}, &bell{since: time.Now()}, &bell{since: time.Now()}
		one.alarm.init(one)
		two.alarm.init(two)
		three.alarm.init(three)
		w.schedule(&one.alarm, time.Now().Add(time.Hour))
		w.schedule(&three.alarm, time.Now().Add(time.Second))
		w.schedule(&one.alarm, time.Now().Add(2*time.Second))
		w.cancel(&three.alarm)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(one.rang) != 1 || len(three.rang) != 0 {
			t.Fatalf("rang %v and %v", one.rang, three.rang)
		}
		w.done.Wait() // nothing is set: nothing runs
		w.schedule(&two.alarm, time.Now().Add(-time.Minute))
		time.Sleep(time.Second)
		w.schedule(&one.alarm, time.Now().Add(time.Second))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(one.rang) != 2 || len(two.rang) != 1 {
			t.Fatalf("rang %v and %v", one.rang, two.rang)
		}
		w.done.Wait()
	})
}

// late is stopped while it rings for the first time, and sets its alarm again.
type late struct {
	alarm timer
	wheel *timerWheel
	rang  bool
}

func (l *late) onTimer(now time.Time) {
	if !l.rang {
		l.rang = true
		l.wheel.cancel(&l.alarm)
		l.wheel.schedule(&l.alarm, now.Add(time.Hour))
	}
}

// TestWheelStopsForGood: Shutdown waits until the wheel stands still, so that no
// session that has ended may have it turn.
func TestWheelStopsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &late{wheel: newTimerWheel()}
		l.alarm.init(l)
		began := time.Now()
		l.wheel.schedule(&l.alarm, began)
		l.wheel.done.Wait()
		l.wheel.schedule(&l.alarm, began)
		l.wheel.cancel(&l.alarm)
		l.wheel.done.Wait()
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("the wheel turned for %v after its only alarm had been stopped", waited)
		}
	})
}

func BenchmarkWheelWake(b *testing.B) {
	w := newTimerWheel()
	bells := make([]bell, 1000)
	for i := range bells {
		bells[i].alarm.init(&bells[i])
	}
	b.ReportAllocs()
	for i := range b.N {
		a := &bells[i%len(bells)].alarm
		w.schedule(a, w.start.Add(time.Hour))
		w.cancel(a)
	}
}
