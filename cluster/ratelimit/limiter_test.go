package ratelimit

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol/rate"
)

// site is some nodes whose reports take a while.
type site struct {
	nodes []*node
	delay time.Duration
	stop  context.CancelFunc
}

type node struct {
	*Limiter
	site *site
	id   string
	cut  atomic.Bool // no report leaves or reaches it
}

func (n *node) Peers() (connected, up int) {
	for _, o := range n.site.nodes {
		if o != n {
			up++
			if !n.cut.Load() && !o.cut.Load() {
				connected++
			}
		}
	}
	return connected, up
}

func (n *node) Counted(counts []Count) {
	for _, o := range n.site.nodes {
		if o != n && !n.cut.Load() && !o.cut.Load() {
			time.AfterFunc(n.site.delay, func() { o.Receive(n.id, counts) })
		}
	}
}

func limitOf(k Kind, l rate.Limit) (all Limits) {
	all[k] = l
	return all
}

func newTestSite(t *testing.T, nodes int, l Limits) *site {
	t.Helper()
	s := &site{delay: time.Millisecond}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(t.Context())
	for i := range nodes {
		s.nodes = append(s.nodes, &node{Limiter: New(l), site: s, id: fmt.Sprint("n", i+1)})
	}
	for _, n := range s.nodes {
		go n.Run(ctx, n)
	}
	synctest.Wait()
	return s
}

func meterOf(l *Limiter, k Kind, name string) *Meter {
	m := new(Meter)
	m.Set(l, k, KeyOf(name))
	return m
}

// attack has one sender send perSecond events for some time, the next one at
// the node that choose names, and returns how many were counted up to half a
// second, and in all.
func (s *site) attack(k Kind, perSecond float64, length time.Duration, choose func(i int) int) (early, all int) {
	meters := make([]*Meter, len(s.nodes))
	for i, n := range s.nodes {
		meters[i] = meterOf(n.Limiter, k, "mallory@example.com")
	}
	began := time.Now()
	for i := 0; time.Since(began) < length; i++ {
		to := choose(i)
		if s.nodes[to].Take(1, meters[to]) == 0 {
			all++
		}
		if time.Since(began) < 500*time.Millisecond {
			early = all
		}
		time.Sleep(time.Duration(float64(time.Second) / perSecond))
	}
	return early, all
}

// A sender that spreads over N nodes gets the limit once: within 10 % after the
// first 500 ms, whatever the rate, the burst, and how the events are spread.
func TestOneSenderGetsTheLimitOnce(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 5, 10} {
		for _, c := range []struct{ rate, burst float64 }{{10, 10}, {100, 200}, {100, 100}, {50, 500}, {2, 2}, {0.5, 30}, {1000, 1000}} {
			for _, spread := range []string{"in turns", "most at one", "at one", "one after the other"} {
				t.Run(fmt.Sprintf("%d nodes, %v:%v, %s", nodes, c.rate, c.burst, spread), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newTestSite(t, nodes, limitOf(MessagesByUser, rate.NewLimit(c.rate, c.burst)))
						defer s.stop()
						length := time.Duration(max(20, 4*c.burst/c.rate)) * time.Second
						attempts := 10 * c.rate
						early, all := s.attack(MessagesByUser, attempts, length, func(i int) int {
							switch {
							case spread == "at one", spread == "most at one" && i%10 > 0:
								return 0
							case spread == "one after the other": // for two seconds each
								return int(float64(i)/attempts/2) % nodes
							}
							return i % nodes
						})
						want := c.burst + c.rate*length.Seconds()
						if float64(all) > 1.1*want || float64(all) < 0.9*want {
							t.Errorf("%d in %v, want %.0f", all, length, want)
						}
						// After the burst, it is the rate.
						if left := min(c.burst, float64(early)); float64(all)-left > 1.1*(want-left)+1 {
							t.Errorf("%d in %v, %d of them in the first 500 ms, want %.0f", all, length, early, want)
						}
					})
				})
			}
		}
	}
}

// Honest users of a node are not refused below their limit, and nothing is said
// of those who use little.
func TestBelowTheShareNothingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 3, limitOf(MessagesByUser, rate.NewLimit(60, 600)))
		defer s.stop()
		one := meterOf(s.nodes[0].Limiter, MessagesByUser, "alice@example.com")
		if s.nodes[0].Take(600, one) != 0 {
			t.Error("the whole burst at one node is refused")
		}
		time.Sleep(time.Minute)
		before, _ := s.nodes[0].Reported()
		for range 1000 { // ten a second is the share that need not be reported
			s.nodes[0].Take(1, one)
			time.Sleep(105 * time.Millisecond)
		}
		if after, _ := s.nodes[0].Reported(); before == 0 || after != before {
			t.Errorf("%d reports for the burst, %d for what is below the share", before, after-before)
		}
	})
}

// Reports are never more frequent than one each 250 ms.
func TestReportsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 3, limitOf(MessagesByUser, rate.NewLimit(100, 100)))
		defer s.stop()
		s.attack(MessagesByUser, 3000, 10*time.Second, func(i int) int { return i % 3 })
		for _, n := range s.nodes {
			if sent, received := n.Reported(); sent > 41 || sent < 10 || received > 82 || received < 20 {
				t.Errorf("%d reports sent, %d received in 10 s", sent, received)
			}
		}
	})
}

// A node that is cut off keeps to its share, and so do the others to theirs.
func TestNodesThatAreCutOffKeepToTheirShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 3, limitOf(MessagesByUser, rate.NewLimit(30, 30)))
		defer s.stop()
		s.nodes[2].cut.Store(true)
		_, all := s.attack(MessagesByUser, 900, 20*time.Second, func(i int) int { return i % 3 })
		if want := 30 + 30*20; float64(all) > 1.1*float64(want) || float64(all) < 0.8*float64(want) {
			t.Errorf("%d with a node cut off, want %d", all, want)
		}
		_, alone := s.attack(MessagesByUser, 300, 20*time.Second, func(int) int { return 2 })
		if alone > 220 || alone < 180 {
			t.Errorf("%d at the node that is cut off, want 200", alone)
		}
		s.nodes[2].cut.Store(false)
		time.Sleep(10 * time.Second)
		_, all = s.attack(MessagesByUser, 900, 20*time.Second, func(i int) int { return i % 3 })
		if want := 30 + 30*20; float64(all) > 1.1*float64(want) || float64(all) < 0.9*float64(want) {
			t.Errorf("%d when it is back, want %d", all, want)
		}
	})
}

// The wait is true: who waits that long gets through, and not much earlier.
func TestTheWaitIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 3, limitOf(MessagesByUser, rate.NewLimit(2, 10)))
		defer s.stop()
		a, b := meterOf(s.nodes[0].Limiter, MessagesByUser, "x"), meterOf(s.nodes[1].Limiter, MessagesByUser, "x")
		for s.nodes[0].Take(1, a) == 0 {
		}
		time.Sleep(20 * time.Millisecond)
		wait := s.nodes[1].Take(1, b)
		if wait <= 0 || wait > 3*time.Second {
			t.Fatalf("the wait at another node is %v", wait)
		}
		time.Sleep(wait)
		if again := s.nodes[1].Take(1, b); again != 0 {
			t.Errorf("after %v it is refused for another %v", wait, again)
		}
	})
}

// All limits count or none does.
func TestARefusedEventCountsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limitOf(MessagesByUser, rate.NewLimit(0.1, 10))
		l[MessagesBySource] = rate.NewLimit(0.1, 3)
		r := New(l)
		user, source := meterOf(r, MessagesByUser, "u"), meterOf(r, MessagesBySource, "s")
		for range 10 {
			r.Take(1, user, source)
		}
		if user.Used() != 3 || source.Used() != 3 || r.Refused(MessagesBySource) != 7 || r.Refused(MessagesByUser) != 0 {
			t.Errorf("%d of the user, %d of the source; refused %d", user.Used(), source.Used(), r.Refused(MessagesBySource))
		}
		r.Spend(10, user)
		if user.Used() != 13 {
			t.Errorf("%d after spending more than there is", user.Used())
		}
		r.SetLimits(Limits{})
		if r.Take(1000, user, source) != 0 {
			t.Error("refused without limits")
		}
	})
}

// A full table forgets those with least, never those over their limit, and
// takes everybody who is new.
func TestAFullTableKeepsTheWorst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(limitOf(MessagesByUser, rate.NewLimit(0.01, 3)))
		for i := range 100 {
			m := meterOf(r, MessagesByUser, fmt.Sprint("worst", i))
			for r.Take(1, m) == 0 {
			}
		}
		for i := range 3 * shards * maxCounters {
			if r.Take(1, meterOf(r, MessagesByUser, fmt.Sprint("u", i))) != 0 {
				t.Fatal("a new one is refused")
			}
		}
		if n := r.Keys(); n > shards*maxCounters {
			t.Errorf("%d are remembered", n)
		}
		for i := range 100 {
			if r.Take(1, meterOf(r, MessagesByUser, fmt.Sprint("worst", i))) == 0 {
				t.Errorf("%d was forgotten", i)
			}
		}
		time.Sleep(10 * time.Minute)
		for i := range 1000 {
			r.Take(1, meterOf(r, MessagesByUser, fmt.Sprint("later", i)))
		}
		if n := r.Keys(); n > 1000 {
			t.Errorf("%d are remembered after ten minutes", n)
		}
	})
}

// A meter that was kept counts on when its counter was evicted.
func TestAMeterOutlivesItsCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(limitOf(MessagesByUser, rate.NewLimit(10, 10)))
		m := meterOf(r, MessagesByUser, "alice")
		r.Take(1, m)
		time.Sleep(2 * purgeInterval)
		for i := range 100 {
			r.Take(1, meterOf(r, MessagesByUser, fmt.Sprint("u", i)))
		}
		first := m.counter.Load()
		for range 10 {
			if r.Take(1, m) != 0 {
				t.Fatal("refused")
			}
		}
		if m.counter.Load() == first || r.Take(1, meterOf(r, MessagesByUser, "alice")) == 0 {
			t.Error("the meter counts for itself")
		}
	})
}

// More keys than fit a report: the worst come first, and all come.
func TestManyKeysAreReportedInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 2, limitOf(MessagesByUser, rate.NewLimit(0.1, 100)))
		defer s.stop()
		for i := range 3 * maxReport {
			s.nodes[0].Take(60, meterOf(s.nodes[0].Limiter, MessagesByUser, fmt.Sprint("u", i)))
		}
		s.nodes[0].Take(100, meterOf(s.nodes[0].Limiter, MessagesByUser, "worst"))
		time.Sleep(ReportInterval + 10*time.Millisecond)
		if used := meterOf(s.nodes[1].Limiter, MessagesByUser, "worst").Used(); used < 99 {
			t.Errorf("of the worst %d are known", used)
		}
		time.Sleep(4 * ReportInterval)
		for i := range 3 * maxReport {
			if used := meterOf(s.nodes[1].Limiter, MessagesByUser, fmt.Sprint("u", i)).Used(); used < 59 {
				t.Fatalf("of key %d %d are known", i, used)
			}
		}
	})
}

// What can't be is ignored: unknown limits, absurd numbers.
func TestReportsThatAreWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(limitOf(MessagesByUser, rate.NewLimit(1, 10)))
		r.Receive("n2", []Count{{Kind: Kinds, Taken: 1}, {Kind: 255, Taken: 1}, {Kind: LoginsByUser, Taken: 5}, {Kind: MessagesByUser, Key: KeyOf("x"), Taken: 1<<32 - 1}})
		m := meterOf(r, MessagesByUser, "x")
		if wait := r.Take(1, m); wait <= 0 || wait > time.Hour {
			t.Errorf("the wait is %v", wait)
		}
	})
}

func BenchmarkTake(b *testing.B) {
	for name, l := range map[string]Limits{"off": {}, "on": func() Limits {
		l := limitOf(MessagesByUser, rate.NewLimit(1e9, 1e9))
		l[MessagesBySource] = rate.NewLimit(1e9, 1e9)
		return l
	}()} {
		b.Run(name, func(b *testing.B) {
			r := New(l)
			user, source := meterOf(r, MessagesByUser, "u"), meterOf(r, MessagesBySource, "s")
			b.ReportAllocs()
			for b.Loop() {
				r.Take(1, user, source)
			}
		})
	}
}
