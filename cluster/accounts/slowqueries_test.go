package accounts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// A directory that delays its answer to a wrong password is not out of order:
// what it has said late answers the next login, which does not ask it again.
func TestDirectoryThatDelaysRejections(t *testing.T) {
	for _, tt := range []struct {
		delay  time.Duration
		logins []bool // whether each is answered 503, one after the other, 5 s after the last
	}{
		{2 * time.Second, []bool{false, false}},
		{5 * time.Second, []bool{true, false}},
		{10 * time.Second, []bool{true, false}},
		{time.Minute, []bool{true, true, true}}, // nobody can know
	} {
		synctest.Test(t, func(t *testing.T) {
			corp := &fakeSource{users: map[string]bool{"alice": true}, binds: 50 * time.Millisecond, delays: tt.delay}
			r := newRegistry(t, Set{Sources: map[string]Source{"corp": corp}, Domains: map[string][]string{"example.com": {"corp"}}})
			for i, unavailable := range tt.logins {
				a, err := r.CheckPassword(t.Context(), login("alice", "wrong"))
				if (err != nil) != unavailable || err == nil && a.Verdict != Rejected {
					t.Errorf("delayed by %v, login %d: %v, %v", tt.delay, i, a.Verdict, err)
				}
				if n := corp.queries(); n != 1 && tt.delay > protocol.SourceTimeout && tt.delay < maxQueryTime {
					t.Errorf("delayed by %v: %d queries", tt.delay, n)
				}
				time.Sleep(5 * time.Second)
			}
			if a, err := r.CheckPassword(t.Context(), login("alice", "right")); err != nil || a.Verdict != Accepted {
				t.Errorf("a right password: %v, %v", a, err)
			}
			time.Sleep(time.Minute)
		})
	}
}

// However many wrong passwords a directory is slow to answer, right ones find
// room.
func TestSlowQueriesLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		corp := &fakeSource{users: map[string]bool{"alice": true, "mallory": true}, binds: 50 * time.Millisecond, delays: 12 * time.Second}
		r := newRegistry(t, Set{Sources: map[string]Source{"corp": corp}, Domains: map[string][]string{"example.com": {"corp"}}})
		var all sync.WaitGroup
		for i := range 300 { // 15 in a second, and each would take 12
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second / 15)
				if a, err := r.CheckPassword(t.Context(), login("mallory", fmt.Sprint("guess", i))); err == nil {
					t.Errorf("guess %d: %v", i, a.Verdict)
				}
			})
		}
		for range 20 {
			began := time.Now()
			if a, err := r.CheckPassword(t.Context(), login("alice", "right")); err != nil || a.Verdict != Accepted || time.Since(began) > time.Second {
				t.Errorf("a right password: %v, %v after %v", a.Verdict, err, time.Since(began))
			}
			time.Sleep(time.Second)
		}
		all.Wait()
		time.Sleep(time.Minute)
		corp.mu.Lock()
		defer corp.mu.Unlock()
		if corp.most > maxInFlight || corp.now != 0 {
			t.Errorf("%d queries were in flight at once, and %d are now", corp.most, corp.now)
		}
	})
}

// A query that has waited for room has all its time: the server is not to blame
// for the wait.
func TestQueriesHaveTheirWholeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(newRegistry(t, Set{}), "corp", &fakeSource{})
		for range maxInFlight {
			m.slots <- struct{}{}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		go func() {
			time.Sleep(2 * time.Second)
			<-m.slots
		}()
		left := make(chan time.Duration, 1)
		_, err := m.ask(ctx, queryKey{}, func(ctx context.Context) (Answer, error) {
			deadline, _ := ctx.Deadline()
			left <- time.Until(deadline)
			return Answer{Verdict: Rejected}, nil
		})
		if _, ok := errors.AsType[*UnavailableError](err); !ok {
			t.Errorf("the login that was in a hurry: %v", err)
		}
		if d := <-left; d != maxQueryTime {
			t.Errorf("the query had %v", d)
		}
	})
}
