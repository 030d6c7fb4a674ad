package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// slowProgram answers after a time.
type slowProgram struct {
	takes   time.Duration
	err     error
	ttl     time.Duration
	open    atomic.Int32
	most    atomic.Int32
	answers atomic.Int32
}

func (p *slowProgram) Ask(ctx context.Context, _ *Question) (Answer, error) {
	n := p.open.Add(1)
	defer p.open.Add(-1)
	for most := p.most.Load(); n > most && !p.most.CompareAndSwap(most, n); most = p.most.Load() {
	}
	select {
	case <-time.After(p.takes):
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	p.answers.Add(1)
	return Answer{Verdict: NotListening, TTL: p.ttl}, p.err
}

func (p *slowProgram) Close() error { return nil }

func address(t *testing.T, s string) protocol.Address {
	t.Helper()
	a, err := protocol.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// questionOf returns a question about a message of a party to its nth recipient.
func questionOf(t *testing.T, party string, n int) *Question {
	from := address(t, party+"@example.com")
	return &Question{From: from, Sender: from, Party: party, To: address(t, fmt.Sprintf("user%d@example.com", n))}
}

// A burst of one sender makes questions wait. That is no failure of the program,
// and no other sender's questions wait for them.
func TestABurstOfOneSenderIsNoFailureOfTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowProgram{takes: 150 * time.Millisecond}
		h := New(Config{Asker: p})
		var all sync.WaitGroup
		for i := range 500 {
			q := questionOf(t, "mallory", i)
			all.Go(func() { h.Decide(t.Context(), q) })
		}
		synctest.Wait()
		began := time.Now()
		if a := h.Decide(t.Context(), questionOf(t, "alice", 0)); a.Verdict != NotListening || a.Assumed || time.Since(began) != p.takes {
			t.Errorf("another sender: %+v after %v", a, time.Since(began))
		}
		all.Wait()
		if took := time.Since(began); took > maxWait+DefaultBudget {
			t.Errorf("the burst took %v", took)
		}
		m := h.Metrics()
		if h.Failing() != "" || m.Failed.Load() > 0 || m.Skipped.Load() > 0 {
			t.Errorf("failing: %q, %d failed, %d skipped", h.Failing(), m.Failed.Load(), m.Skipped.Load())
		}
		if most := p.most.Load(); most != maxOpenOfOne+1 {
			t.Errorf("%d questions were open at once", most)
		}
		if busy := m.Busy.Load(); busy == 0 || busy+uint64(p.answers.Load()) != 501 {
			t.Errorf("%d had no slot, %d were answered", busy, p.answers.Load())
		}
		if len(h.slots.parties) > 0 || len(h.slots.all) > 0 {
			t.Error("slots are left over")
		}
	})
}

// All parties together have no more than maxOpen questions open, and each has the
// whole budget once it is asked.
func TestAQuestionHasItsBudgetOnceItHasASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowProgram{takes: 190 * time.Millisecond}
		h := New(Config{Asker: p})
		var all sync.WaitGroup
		for i := range 3 * maxOpen {
			q := questionOf(t, fmt.Sprint("p", i), i)
			all.Go(func() {
				if a := h.Decide(t.Context(), q); a.Assumed {
					t.Errorf("question %d was not answered", i)
				}
			})
		}
		all.Wait()
		if most := p.most.Load(); most != maxOpen {
			t.Errorf("%d questions were open at once", most)
		}
	})
}

// A burst at a program that has died opens the breaker for a second, and no longer.
func TestTheFirstPauseIsShort(t *testing.T) {
	for closed, say := range map[bool]string{false: "passed without it", true: "answered 503"} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			p := &slowProgram{takes: time.Hour}
			h := New(Config{Asker: p, FailClosed: closed, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			var all sync.WaitGroup
			for i := range maxOpen {
				q := questionOf(t, fmt.Sprint("p", i), i)
				all.Go(func() { h.Decide(t.Context(), q) })
			}
			all.Wait()
			if h.Failing() == "" || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), say) {
				t.Errorf("failing %q, log: %s", h.Failing(), &log)
			}
			p.takes = 0
			time.Sleep(minPause)
			if a := h.Decide(t.Context(), questionOf(t, "alice", 0)); a.Assumed || h.Failing() != "" {
				t.Errorf("after a second: %+v, failing %q", a, h.Failing())
			}
		})
	}
}

// An error of the program counts, and says what is logged.
func TestFailuresOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Asker: &slowProgram{err: errors.New("broken")}})
		for i := range maxFailures {
			if a := h.Decide(t.Context(), questionOf(t, "alice", i)); a.Verdict != Pass || !a.Assumed {
				t.Errorf("%+v", a)
			}
		}
		if h.Failing() != "broken" {
			t.Errorf("failing: %q", h.Failing())
		}
	})
}

// Remembered answers do not keep request lines alive, hold for all forms of a
// foreign sender, and are forgotten after a time.
func TestAnswersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowProgram{ttl: time.Minute}
		h := New(Config{Asker: p})
		q := questionOf(t, "alice", 0)
		for _, form := range []string{"Eve@two.example", "eve@two.example", "EVE@two.example"} {
			q.From = address(t, form)
			q.Sender = q.From.CaseFold()
			h.Decide(t.Context(), q)
		}
		if n := p.answers.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(3 * maxTTL)
		synctest.Wait()
		h.answers.mu.Lock()
		defer h.answers.mu.Unlock()
		if len(h.answers.new)+len(h.answers.old) > 0 || h.answers.timer != nil {
			t.Error("answers that no longer hold are remembered")
		}
	})
}
