package storage

import (
	"testing"
	"testing/synctest"
	"time"
)

// A write that hangs ends the process; one that is slow does not.
func TestStalledWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		done := startWatchdog(func(error) { ended++ })
		<-time.After(stallTimeout - time.Millisecond)
		done()
		<-time.After(2 * stallTimeout)
		if ended != 0 {
			t.Error("a slow write ended the process")
		}
		done = startWatchdog(func(error) { ended++ })
		<-time.After(stallTimeout + time.Millisecond)
		done()
		if ended != 1 {
			t.Errorf("a stalled write ended the process %d times", ended)
		}
	})
}

// The time in which the process itself is paused does not count: a timer that
// was due meanwhile fires once.
func TestPausedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writeWatchdog{fatal: func(error) { t.Error("a pause ended the process") }}
		w.mu.Lock()
		w.timer = time.AfterFunc(time.Hour, w.check) // as if the process were paused for an hour
		w.mu.Unlock()
		<-time.After(time.Hour + stallTimeout/2)
		w.stop()
		<-time.After(2 * stallTimeout)
	})
}
