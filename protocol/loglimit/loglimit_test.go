package loglimit

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// logged runs a test with a limited logger, and returns what was written, a
// line each, without its time.
func logged(t *testing.T, test func(l *slog.Logger)) (lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		test(slog.New(New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))))
		synctest.Wait()
		for line := range strings.Lines(b.String()) {
			_, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			lines = append(lines, rest)
		}
	})
	return lines
}

func check(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("written:\n%s\nwanted:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestOneLineAMinute: the first is written at once, then one a minute while
// there is anything to tell, and the next one at once again.
func TestOneLineAMinute(t *testing.T) {
	check(t, logged(t, func(l *slog.Logger) {
		for i := range 180 { // 126 s
			l.Warn("not reached", "node", "n3", "error", fmt.Errorf("dial 10.0.0.3:%d: refused", i))
			time.Sleep(700 * time.Millisecond)
		}
		time.Sleep(2 * Interval)
		l.Warn("not reached", "node", "n3", "error", errors.New("dial 10.0.0.3:7: refused"))
	}),
		`level=WARN msg="not reached" node=n3 error="dial 10.0.0.3:0: refused"`,
		`level=WARN msg="not reached" node=n3 error="dial 10.0.0.3:85: refused" left_out=85`,
		`level=WARN msg="not reached" node=n3 error="dial 10.0.0.3:171: refused" left_out=86`,
		`level=WARN msg="not reached" node=n3 error="dial 10.0.0.3:179: refused" left_out=8`,
		`level=WARN msg="not reached" node=n3 error="dial 10.0.0.3:7: refused"`,
	)
}

// TestCausesAreToldApart: by message, part, peer, and error, whose numbers don't
// count.
func TestCausesAreToldApart(t *testing.T) {
	lines := logged(t, func(l *slog.Logger) {
		for i := range 5 {
			l.Warn("a", "node", "n1", "error", fmt.Sprint("port ", 1000+i))
			l.Warn("a", "node", "n2", "error", fmt.Sprint("port ", 1000+i))
			l.Warn("a", "node", "n2", "error", "another")
			l.Warn("a", "node", "n1", "error", "port 1", "remote", netip.MustParseAddrPort(fmt.Sprintf("[fe80::%x]:7", i)))
			l.Warn("a", "cause", "handshake", "error", fmt.Sprint("error ", string(rune('a'+i))))
			l.With("part", "raft").Error("a", "peer", "10.0.0.1:7470", "error", fmt.Sprint("error ", string(rune('a'+i))))
			l.With("part", "raft").Error("a", "peer", "10.0.0.2:7470", "error", "x")
			l.With("part", "raft").Info("a", "peer", "10.0.0.2:7470")
			l.With("part", "gossip").Info(fmt.Sprintf("n1 lost %d packets", i))
			l.With("part", "gossip").Info(fmt.Sprintf("n2 lost %d packets", i))
		}
	})
	if len(lines) != 8 {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}

// TestWhatIsNotLeftOut: lines at info without a part, those at debug, and all
// by Unlimited.
func TestWhatIsNotLeftOut(t *testing.T) {
	lines := logged(t, func(l *slog.Logger) {
		for range 10 {
			l.Info("audit")
			l.Debug("raft", "part", "raft")
			Unlimited(l).Warn("kept as it was")
		}
	})
	if len(lines) != 30 {
		t.Errorf("%d lines", len(lines))
	}
}

// TestManyVariantsAreOne: whoever can put a word of their own into a line fills
// neither the log nor the memory.
func TestManyVariantsAreOne(t *testing.T) {
	lines := logged(t, func(l *slog.Logger) {
		for i := range 2000 {
			l.Warn("refused", "error", fmt.Sprint("no node x", i))
			l.Warn(fmt.Sprint("gossip of x", i))
		}
		causes := l.Handler().(*Handler).causes
		held := func() (of, variants int) {
			causes.mu.Lock()
			defer causes.mu.Unlock()
			return len(causes.of), len(causes.variants)
		}
		if n, _ := held(); n > maxCauses+maxVariants {
			t.Errorf("%d causes", n)
		}
		time.Sleep(3 * Interval)
		synctest.Wait()
		if of, variants := held(); of != 0 || variants != 0 {
			t.Errorf("%d causes and %d subjects stay", of, variants)
		}
	})
	if len(lines) > 2*(maxCauses+maxVariants) {
		t.Errorf("%d lines", len(lines))
	}
}

// TestFlushTellsWhatIsLeft: the end of the process loses no count.
func TestFlushTellsWhatIsLeft(t *testing.T) {
	check(t, logged(t, func(l *slog.Logger) {
		for range 3 {
			l.WithGroup("g").Warn("lost", "a", 1)
		}
		Flush(l)
		Flush(l)
	}), `level=WARN msg=lost g.a=1`, `level=WARN msg=lost g.a=1 g.left_out=2`)
}

// TestAllAreCounted: from many goroutines each line is written or counted.
func TestAllAreCounted(t *testing.T) {
	lines := logged(t, func(l *slog.Logger) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range 100 {
					l.Warn("lost")
				}
			})
		}
		wg.Wait()
		time.Sleep(Interval)
	})
	check(t, lines, "level=WARN msg=lost", "level=WARN msg=lost left_out=4999")
}
