package router

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// limited runs f with a limiter in fake time.
func limited(t *testing.T, f func(t *testing.T, l *loginLimiter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &loginLimiter{}
		l.init()
		f(t, l)
	})
}

func attempt(source, user string) protocol.Attempt {
	return protocol.Attempt{Principal: protocol.Principal{User: addr(user + "@example.com")}, Source: netip.MustParseAddr(source)}
}

// guess is one wrong login; it reports whether the password was looked at.
func (l *loginLimiter) guess(ctx context.Context, a protocol.Attempt) bool {
	if l.admit(a) > 0 || l.isPaced(a) && l.awaitTurn(ctx, a) > 0 || l.admit(a) > 0 {
		return false
	}
	l.failed(a)
	return true
}

// Both sides of the account's limit, and of the source's.
func TestLimitsOfFailedLogins(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		for i := range accountFailures {
			if !l.guess(t.Context(), attempt("192.0.2.66", "bob")) {
				t.Fatalf("refused after %d failures", i)
			}
		}
		if l.admit(attempt("192.0.2.66", "bob")) == 0 {
			t.Error("the account's limit is over, and the attacker is admitted")
		}
		for i := accountFailures; i < sourceFailures; i++ {
			if !l.guess(t.Context(), attempt("192.0.2.66", fmt.Sprint("u", i))) {
				t.Fatalf("the source is refused after %d failures", i)
			}
		}
		if l.admit(attempt("192.0.2.66", "carol")) == 0 {
			t.Error("the source's limit is over, and it is admitted")
		}
		if a := attempt("192.0.2.67", "carol"); l.admit(a) != 0 || l.isPaced(a) {
			t.Error("another source is refused")
		}
		time.Sleep(failureMemory)
		if l.admit(attempt("192.0.2.66", "bob")) != 0 {
			t.Error("refused after the minute is over")
		}
	})
}

// An IPv6 source is its /64, whatever address of it is used.
func TestIPv6SourcesAreNetworks(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		looked := 0
		for i := range 3000 {
			if l.guess(t.Context(), attempt(fmt.Sprintf("2a00:1:2:3::%x", i+1), fmt.Sprint("u", i))) {
				looked++
			}
		}
		if looked != sourceFailures {
			t.Errorf("%d guesses of one /64 were looked at, want %d", looked, sourceFailures)
		}
		if l.admit(attempt("2a00:1:2:4::1", "bob")) != 0 {
			t.Error("the next /64 is refused")
		}
	})
}

// Above a source is its network: one /48 has many /64.
func TestNetworksHaveALimit(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		l.succeeded(attempt("2a00:1:2:ffff::1", "owner"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		looked, i := 0, 0
		for ; ctx.Err() == nil; i++ {
			if l.guess(ctx, attempt(fmt.Sprintf("2a00:1:2:%x::1", i), fmt.Sprint("u", i))) {
				looked++
			}
		}
		if most := networkFailures + turnBurst + accountFailures + 5; looked > 2*most || looked < networkFailures {
			t.Errorf("%d of %d guesses of one /48 were looked at in a minute", looked, i)
		}
		if a := attempt("2a00:1:2:ffff::1", "owner"); l.admit(a) != 0 || l.isPaced(a) {
			t.Error("an owner in the same network has to wait, where they have been before")
		}
		if a := attempt("2a00:1:3::1", "bob"); l.admit(a) != 0 || l.isPaced(a) {
			t.Error("another network has to wait")
		}
	})
}

// Guesses at one account that come from 250 sources at once, again and again.
// The owner comes in from where they have been, at once, and from a new place
// soon.
func TestSpreadGuesses(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		l.succeeded(attempt("192.0.2.1", "bob"))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		looked := make(chan int, 250)
		for i := range 250 {
			go func() {
				n := 0
				for ctx.Err() == nil {
					turn, end := context.WithTimeout(ctx, 8*time.Second)
					if l.guess(turn, attempt(fmt.Sprintf("198.51.100.%d", i), "bob")) {
						n++
					}
					end()
					time.Sleep(time.Second)
				}
				looked <- n
			}()
		}
		time.Sleep(30 * time.Second)
		if a := attempt("192.0.2.1", "bob"); l.admit(a) != 0 || l.isPaced(a) {
			t.Error("the owner has to wait where they have been before")
		}
		began, tries := time.Now(), 0
		for new := attempt("203.0.113.9", "bob"); ; tries++ {
			turn, end := context.WithTimeout(ctx, 8*time.Second)
			wait := l.awaitTurn(turn, new)
			end()
			if l.admit(new) != 0 || ctx.Err() != nil {
				t.Fatal("the owner is refused in a new place")
			}
			if wait == 0 {
				break
			}
			time.Sleep(wait)
		}
		t.Logf("in from a new place after %v and %d tries", time.Since(began), tries+1)
		all := 0
		for range 250 {
			all += <-looked
		}
		if most := accountFailures + turnBurst + 2*accountFailures + 1; all > most {
			t.Errorf("%d guesses were looked at in two minutes, want at most %d", all, most)
		}
	})
}

// A full table forgets those with least, never those over their limit.
func TestAFullTableKeepsTheWorst(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		worst := func(i int) protocol.Attempt { return attempt(fmt.Sprintf("172.16.%d.1", i), fmt.Sprint("bob", i)) }
		for i := range 100 {
			for l.guess(t.Context(), worst(i)) {
			}
		}
		for i := range 2 * maxBuckets {
			l.failed(attempt(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), fmt.Sprint("u", i)))
		}
		for name, b := range map[string]*buckets{"sources": &l.sources, "accounts": &l.accounts, "pairs": &l.pairs} {
			if len(b.byKey) != maxBuckets {
				t.Errorf("%d %s are remembered", len(b.byKey), name)
			}
		}
		for i := range 100 {
			if l.admit(worst(i)) == 0 {
				t.Errorf("attacker %d was forgotten", i)
			}
		}
		if last := attempt("192.0.2.77", "carol"); !l.guess(t.Context(), last) || l.pairs.byKey[l.keys(last).pair].last == 0 && l.now() > 0 {
			t.Error("nothing is counted any more")
		}
		time.Sleep(2 * failureMemory)
		l.failed(attempt("192.0.2.78", "carol"))
		if len(l.sources.byKey) != 1 {
			t.Errorf("%d sources are remembered after two minutes", len(l.sources.byKey))
		}
	})
}

// A source that many share, such as a balancer, has no limit of its own: what
// fails through it counts for the account alone.
func TestExemptSourcesCountByAccount(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		exempt := func(user string) protocol.Attempt {
			a := attempt("127.0.0.1", user)
			a.Exempt = true
			return a
		}
		for i := range 10 * sourceFailures {
			if !l.guess(t.Context(), exempt(fmt.Sprint("u", i))) {
				t.Fatalf("refused after %d failures at as many accounts", i)
			}
		}
		for range accountFailures {
			l.failed(exempt("bob"))
		}
		if l.admit(exempt("bob")) == 0 {
			t.Error("the account has no limit")
		}
		if l.succeeded(exempt("bob")) {
			t.Error("everybody behind a balancer counts as the owner")
		}
	})
}

// Other sites are counted by domain, and names that are no address by source.
func TestDomainsDoNotLockOutEachOther(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		domain := func(source, d string) protocol.Attempt {
			return protocol.Attempt{Principal: protocol.Principal{Domain: d}, Source: netip.MustParseAddr(source)}
		}
		nobody := protocol.Attempt{Source: netip.MustParseAddr("192.0.2.1")}
		for range accountFailures {
			l.failed(domain("192.0.2.1", "one.example"))
			l.failed(nobody)
		}
		for _, a := range []protocol.Attempt{domain("192.0.2.1", "two.example"), domain("192.0.2.2", "two.example"), nobody} {
			if l.admit(a) != 0 || l.isPaced(a) {
				t.Errorf("%+v is refused or has to wait", a)
			}
		}
		if l.admit(domain("192.0.2.1", "one.example")) == 0 {
			t.Error("the domain has no limit")
		}
	})
}

// Turns end with their time, and each source has one place in the queue.
func TestTurns(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		for i := range accountFailures {
			l.failed(attempt(fmt.Sprintf("192.0.2.%d", i), "bob"))
		}
		for i := range turnBurst {
			if wait := l.awaitTurn(t.Context(), attempt(fmt.Sprintf("198.51.100.%d", i), "bob")); wait != 0 {
				t.Fatalf("turn %d has to be waited for", i)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		first := make(chan time.Duration)
		go func() { first <- l.awaitTurn(ctx, attempt("203.0.113.1", "bob")) }()
		synctest.Wait()
		if l.awaitTurn(t.Context(), attempt("203.0.113.1", "bob")) == 0 {
			t.Error("a second attempt of the same source waits too")
		}
		if wait := <-first; wait == 0 || len(l.queues) != 0 {
			t.Errorf("a turn that did not come: wait %v, %d queues left", wait, len(l.queues))
		}
		began := time.Now()
		if l.awaitTurn(t.Context(), attempt("203.0.113.2", "bob")) != 0 || time.Since(began) > failureMemory/accountFailures {
			t.Errorf("a turn came after %v", time.Since(began))
		}
		if len(l.queues) != 0 {
			t.Error("a queue is left")
		}
	})
}

// One network cannot fill a queue: room goes to those that have least.
func TestTurnQueueIsShared(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		l.mu.Lock()
		scope := l.keys(attempt("192.0.2.1", "bob")).account
		l.turns.spend(scope, maxFailuresAtOnce, l.now())
		for i := range maxTurnWaiters {
			if l.enqueueTurnLocked(scope, l.keys(attempt(fmt.Sprintf("198.51.100.%d", i%256), "bob"))) == nil {
				t.Fatalf("no room for attempt %d", i)
			}
		}
		if l.enqueueTurnLocked(scope, l.keys(attempt("203.0.113.1", "bob"))) == nil || l.queues[scope].count != maxTurnWaiters {
			t.Errorf("no room for another network; %d wait", l.queues[scope].count)
		}
		l.queues[scope].timer.Stop()
		l.mu.Unlock()
	})
}

func TestKnownSources(t *testing.T) {
	limited(t, func(t *testing.T, l *loginLimiter) {
		for i := range sourcesPerKnown + 1 {
			if a := attempt(fmt.Sprintf("192.0.2.%d", i), "bob"); !l.succeeded(a) || l.succeeded(a) {
				t.Errorf("source %d is not new once", i)
			}
		}
		has := func(source, user string) bool { return l.known.has(l.keys(attempt(source, user))) }
		if has("192.0.2.0", "bob") || !has("192.0.2.1", "bob") || has("192.0.2.1", "alice") {
			t.Error("the newest sources of an account are known, and no others")
		}
		for i := range maxKnownAccounts + 10 {
			l.succeeded(attempt("192.0.2.1", fmt.Sprint("u", i)))
		}
		if len(l.known.byAccount) != maxKnownAccounts {
			t.Errorf("%d accounts are known", len(l.known.byAccount))
		}
	})
}

// What one node counts, all know.
func TestLoginsCountOnAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		for range accountFailures {
			s.nodes["n1"].Router.Failed(attempt("192.0.2.66", "bob"))
		}
		if s.nodes["n2"].Admit(attempt("192.0.2.66", "bob")) == 0 {
			t.Error("another node admits what this one counted")
		}
		if !s.nodes["n2"].IsPaced(attempt("192.0.2.1", "bob")) {
			t.Error("another node does not pace guesses at the account")
		}
		s.nodes["n1"].Router.Succeeded(attempt("192.0.2.1", "bob"))
		if s.nodes["n2"].IsPaced(attempt("192.0.2.1", "bob")) {
			t.Error("another node does not know the owner's place")
		}
	})
}
