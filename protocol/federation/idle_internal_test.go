package federation

import (
	"testing"
	"time"
	"unsafe"
)

// withStep returns t as it would be if the wall clock had been stepped before:
// its monotonic reading stays. See package time for the layout of a Time.
func withStep(t time.Time, step time.Duration) time.Time {
	const nanosecondBits = 30 // of the first word, below the seconds
	*(*uint64)(unsafe.Pointer(&t)) += uint64(step/time.Second) << nanosecondBits
	return t
}

// Which remote domain has been idle longest does not depend on steps of the wall
// clock.
func TestIdleTimesIgnoreStepsOfTheClock(t *testing.T) {
	began := time.Now()
	for _, step := range []time.Duration{0, time.Hour, -time.Hour, 3 * 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour} {
		if later := withStep(began, step); later.Sub(began) != 0 || later.Unix()-began.Unix() != int64(step/time.Second) {
			t.Fatalf("a step of %v is one of %v, and %v later", step, later.Unix()-began.Unix(), later.Sub(began))
		}
		r := &Relay{started: began, remotes: map[domainPair]*remoteDomain{}}
		first, second := &remoteDomain{relay: r}, &remoteDomain{relay: r}
		r.remotes[domainPair{local: "example.com", remote: "first.example"}] = first
		r.remotes[domainPair{local: "example.com", remote: "second.example"}] = second
		first.setIdleSince(began.Add(time.Second))
		second.setIdleSince(withStep(began.Add(2*time.Second), step))
		if r.victimLocked(false, func(*remoteDomain) bool { return true }) != first {
			t.Errorf("after a step of %v the newest is evicted", step)
		}
	}
}
