package netio

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// bell notes when it rings.
type bell struct {
	alarm Timer
	rang  []time.Duration
	since time.Time
}

func (b *bell) OnTimer(now time.Time) { b.rang = append(b.rang, now.Sub(b.since)) }

func TestWheelRingsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewTimerWheel()
		random := rand.New(rand.NewPCG(1, 2))
		bells := make([]*bell, 500)
		wants := make([]time.Duration, len(bells))
		for i := range bells {
			bells[i] = &bell{since: time.Now()}
			bells[i].alarm.Init(bells[i])
			wants[i] = time.Duration(random.Int64N(int64(20 * time.Minute))) // the wheel turns in seven
			w.Schedule(&bells[i].alarm, time.Now().Add(wants[i]))
			w.Schedule(&bells[i].alarm, time.Now().Add(wants[i]+time.Minute)) // later: no effect
		}
		time.Sleep(21 * time.Minute)
		w.Wait()
		for i, b := range bells {
			if len(b.rang) != 1 || b.rang[0] < wants[i] || b.rang[0] > wants[i]+2*Tick {
				t.Fatalf("alarm %d, set for %v, rang %v", i, wants[i], b.rang)
			}
		}
	})
}

func TestWheelSoonerStopAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewTimerWheel()
		one, two, three := &bell{since: time.Now()}, &bell{since: time.Now()}, &bell{since: time.Now()}
		one.alarm.Init(one)
		two.alarm.Init(two)
		three.alarm.Init(three)
		w.Schedule(&one.alarm, time.Now().Add(time.Hour))
		w.Schedule(&three.alarm, time.Now().Add(time.Second))
		w.Schedule(&one.alarm, time.Now().Add(2*time.Second))
		w.Cancel(&three.alarm)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(one.rang) != 1 || len(three.rang) != 0 {
			t.Fatalf("rang %v and %v", one.rang, three.rang)
		}
		w.Wait() // nothing is set: nothing runs
		w.Schedule(&two.alarm, time.Now().Add(-time.Minute))
		time.Sleep(time.Second)
		w.Schedule(&one.alarm, time.Now().Add(time.Second))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(one.rang) != 2 || len(two.rang) != 1 {
			t.Fatalf("rang %v and %v", one.rang, two.rang)
		}
		w.Wait()
	})
}

// late is stopped while it rings for the first time, and sets its alarm again.
type late struct {
	alarm Timer
	wheel *TimerWheel
	rang  bool
}

func (l *late) OnTimer(now time.Time) {
	if !l.rang {
		l.rang = true
		l.wheel.Cancel(&l.alarm)
		l.wheel.Schedule(&l.alarm, now.Add(time.Hour))
	}
}

// TestWheelStopsForGood: Shutdown waits until the wheel stands still, so that no
// session that has ended may have it turn.
func TestWheelStopsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &late{wheel: NewTimerWheel()}
		l.alarm.Init(l)
		began := time.Now()
		l.wheel.Schedule(&l.alarm, began)
		l.wheel.Wait()
		l.wheel.Schedule(&l.alarm, began)
		l.wheel.Cancel(&l.alarm)
		l.wheel.Wait()
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("the wheel turned for %v after its only alarm had been stopped", waited)
		}
	})
}

func BenchmarkWheelWake(b *testing.B) {
	w := NewTimerWheel()
	bells := make([]bell, 1000)
	for i := range bells {
		bells[i].alarm.Init(&bells[i])
	}
	b.ReportAllocs()
	for i := range b.N {
		a := &bells[i%len(bells)].alarm
		w.Schedule(a, w.start.Add(time.Hour))
		w.Cancel(a)
	}
}
