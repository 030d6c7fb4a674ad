package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestStalledWrite: a write that hangs ends the process, one that is slow does not.
func TestStalledWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		done := watch(func(error) { ended++ })
		time.Sleep(stallTimeout - time.Millisecond)
		done()
		time.Sleep(2 * stallTimeout)
		if ended != 0 {
			t.Error("a slow write ended the process")
		}
		done = watch(func(error) { ended++ })
		time.Sleep(stallTimeout + time.Millisecond)
		done()
		if ended != 1 {
			t.Errorf("a stalled write ended the process %d times", ended)
		}
	})
}

// TestPausedWrite: the time in which the process itself stood still does not
// count; a timer that was due meanwhile fires once.
func TestPausedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stallWatch{fatal: func(error) { t.Error("a pause ended the process") }}
		w.mu.Lock()
		w.timer = time.AfterFunc(time.Hour, w.look) // as if the process were stopped for an hour
		w.mu.Unlock()
		time.Sleep(time.Hour + stallTimeout/2)
		w.stop()
		time.Sleep(2 * stallTimeout)
	})
}
