package proposals

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"simpd/cluster/peerrpc"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// fakeLog is a leader and a log, as one proposer sees them: batches may be
// late, lost, refused, or taken without a word.
type fakeLog struct {
	mu      sync.Mutex
	random  *rand.Rand
	term    uint64
	intake  *Batcher
	applied map[string]int // by account: how often it was made
	tell    func(term uint64, results []store.BatchResult)
	rough   bool
}

func newFakeLog(seed uint64, rough bool) *fakeLog {
	l := &fakeLog{random: rand.New(rand.NewPCG(seed, 0)), applied: make(map[string]int), rough: rough}
	l.intake = NewBatcher(BatcherConfig{
		Apply: l.apply, OnCommit: func(uint64, uint64) {}, OnEntry: func(int, time.Time) {}, Leader: func() string { return "n9" }, Fatal: func(error) {},
	})
	l.elect()
	return l
}

// elect begins a new term.
func (l *fakeLog) elect() {
	l.intake.Stop()
	l.mu.Lock()
	l.term++
	term := l.term
	l.mu.Unlock()
	l.intake.Start(term)
	if l.tell != nil {
		l.tell(term, nil) // the fence
	}
}

// future is Raft's word about an entry.
type future struct{ err error }

func (f future) Error() error  { return f.err }
func (f future) Response() any { return nil }
func (f future) Index() uint64 { return 0 }

// apply is raft.Apply.
func (l *fakeLog) apply(cmd []byte, _ time.Duration) raft.ApplyFuture {
	if l.rough && l.chance(10) {
		return future{raft.ErrLeadershipTransferInProgress}
	}
	if l.rough && l.chance(10) {
		return future{raft.ErrLeadershipLost} // and the entry with it
	}
	l.commit(cmd)
	if l.rough && l.chance(10) {
		return future{raft.ErrLeadershipLost} // but the entry stays
	}
	return future{}
}

func (l *fakeLog) chance(percent int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.IntN(100) < percent
}

// commit is the fsm of the node that proposes.
func (l *fakeLog) commit(cmd []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := store.DecodeEntry(cmd)
	if err != nil {
		panic(err)
	}
	var results []store.BatchResult
	for _, b := range e.Batch {
		if b.Term != l.term {
			continue
		}
		r := store.BatchResult{Origin: b.Origin, Incarnation: b.Incarnation, Number: b.Number}
		for _, c := range b.Change {
			l.applied[c.GetPutAccount().GetAddress()]++
			r.Results = append(r.Results, store.Result{Applied: true})
		}
		results = append(results, r)
	}
	l.tell(l.term, results)
}

// call is link.Propose: requests and answers may be late or lost.
func (l *fakeLog) call(ctx context.Context, _ string, batches []*storev1.Batch) error {
	if l.rough && l.chance(10) {
		return peerrpc.Unavailable("it could not be sent")
	}
	answer := make(chan error, 1)
	go func() {
		l.wait()
		answers := make(chan error, len(batches))
		for _, b := range batches {
			l.intake.Submit(b, func(err error) { answers <- err })
		}
		err := awaitAll(context.Background(), answers, len(batches))
		l.wait()
		answer <- err
	}()
	if l.rough && l.chance(20) {
		return peerrpc.Unknown("the connection broke")
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return peerrpc.Unknown("hung up: %w", ctx.Err())
	}
}

func (l *fakeLog) wait() {
	if !l.rough {
		return
	}
	l.mu.Lock()
	d := time.Duration(l.random.IntN(300)) * time.Millisecond
	l.mu.Unlock()
	<-time.After(d)
}

// proposerOf is a running proposer on a log.
func proposerOf(t *testing.T, l *fakeLog) *Client {
	p := NewClient(ProcessID{"n1", 7}, ClientConfig{})
	p.config.Leader = func() (string, uint64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return "n9", l.term
	}
	p.config.QuorumLost = func() bool { return false }
	p.config.Submit = l.intake.Submit
	p.config.CallLeader = l.call
	l.tell = p.OnApplied
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return p
}

func TestAProposalIsDoneOnceHoweverRoughTheWay(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { roughRun(t, seed) })
		})
	}
}

func roughRun(t *testing.T, seed uint64) {
	l := newFakeLog(seed, true)
	p := proposerOf(t, l)
	outcomes := make(map[string]error)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			for j := range 10 {
				name := fmt.Sprintf("u%d-%d", i, j)
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+i%5)*time.Second/2)
				_, err := p.Propose(ctx, []*storev1.Change{account(name)})
				cancel()
				mu.Lock()
				outcomes[name] = err
				mu.Unlock()
			}
		})
	}
	for range 8 {
		<-time.After(500 * time.Millisecond)
		l.elect()
	}
	wg.Wait()
	<-time.After(10 * time.Second) // what is late has come
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := map[string]int{}
	for name, err := range outcomes {
		n := l.applied[name]
		switch {
		case err == nil && n == 1, errors.Is(err, peerrpc.ErrUnavailable) && n == 0, errors.Is(err, peerrpc.ErrUnknown) && n <= 1:
		default:
			t.Errorf("%s was made %d times, and the outcome is %v", name, n, err)
		}
		counts[fmt.Sprintf("%v %d", err == nil, n)]++
	}
	if counts["true 1"] < 100 {
		t.Errorf("too little came of it to say anything: %v", counts)
	}
}

func TestADoubtIsEndedByALaterBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1, false)
		p := proposerOf(t, l)
		call, calls := p.config.CallLeader, 0
		p.config.CallLeader = func(ctx context.Context, leader string, b []*storev1.Batch) error {
			if calls++; calls == 1 {
				return peerrpc.Unknown("lost on its way")
			}
			return call(ctx, leader, b)
		}
		before := time.Now()
		if _, err := p.Propose(t.Context(), []*storev1.Change{account("alice")}); err != nil {
			t.Fatal(err)
		}
		if l.applied["alice"] != 1 || calls != 3 {
			t.Errorf("made %d times, in %d calls", l.applied["alice"], calls)
		}
		if took := time.Since(before); took > 200*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

func TestGivingUpSaysWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1, false)
		p := proposerOf(t, l)
		l.mu.Lock()
		p.config.CallLeader = func(ctx context.Context, _ string, _ []*storev1.Batch) error {
			<-ctx.Done()
			return peerrpc.Unknown("no answer")
		}
		l.mu.Unlock()
		propose := func(name string, d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			_, err := p.Propose(ctx, []*storev1.Change{account(name)})
			return err
		}
		if err := propose("sent", time.Second); !errors.Is(err, peerrpc.ErrUnknown) {
			t.Errorf("what a leader may have: %v", err)
		}
		if err := propose("waiting", time.Second); !errors.Is(err, peerrpc.ErrUnavailable) {
			t.Errorf("what waits for a leader: %v", err)
		}
	})
}

func TestWithoutTheMajorityProposalsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1, false)
		p := proposerOf(t, l)
		p.config.Leader = func() (string, uint64) { return "", 1 }
		start := time.Now()
		p.config.QuorumLost = func() bool { return time.Since(start) >= 1800*time.Millisecond }
		_, err := p.Propose(t.Context(), []*storev1.Change{account("alice")})
		if !errors.Is(err, peerrpc.ErrUnavailable) || time.Since(start) > 2*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		again := time.Now()
		_, err = p.Propose(t.Context(), []*storev1.Change{account("alice")})
		if !errors.Is(err, peerrpc.ErrUnavailable) || time.Since(again) > 0 {
			t.Errorf("the next, after %v: %v", time.Since(again), err)
		}
	})
}

func TestTooManyChangesAreRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1, false)
		p := proposerOf(t, l)
		p.config.Leader = func() (string, uint64) { return "", 1 }
		change := account("alice")
		full := make([]*storev1.Change, maxWaiting)
		for i := range full {
			full[i] = change
		}
		ctx, cancel := context.WithCancel(t.Context())
		go p.Propose(ctx, full)
		synctest.Wait()
		if _, err := p.Propose(t.Context(), full[:1]); !errors.Is(err, ErrBusy) || !errors.Is(err, peerrpc.ErrUnavailable) {
			t.Errorf("one more: %v", err)
		}
		cancel()
		synctest.Wait()
		if n := p.Queued(); n != 0 {
			t.Errorf("%d changes wait though nobody does", n)
		}
	})
}

func TestTooManyOctetsAreRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1, false)
		p := proposerOf(t, l)
		p.config.Leader = func() (string, uint64) { return "", 1 }
		ctx, cancel := context.WithCancel(t.Context())
		large := contact("alice@example.com", "bob@example.com", strings.Repeat("x", maxChangeOctets/2))
		for range maxWaitingOctets / proto.Size(large) {
			go p.Propose(ctx, []*storev1.Change{large})
		}
		synctest.Wait()
		if _, err := p.Propose(t.Context(), []*storev1.Change{large}); !errors.Is(err, ErrBusy) {
			t.Errorf("one more: %v", err)
		}
		cancel()
		synctest.Wait()
		if q := p.queue; !q.isEmpty() || q.changes != 0 || q.octets != 0 {
			t.Errorf("%+v wait though nobody does", q)
		}
	})
}

func TestAChangeIsBoundedInOctets(t *testing.T) {
	l := newFakeLog(1, false)
	p := proposerOf(t, l)
	huge := contact("alice@example.com", "bob@example.com", strings.Repeat("x", maxChangeOctets))
	if _, err := p.Propose(t.Context(), []*storev1.Change{huge}); !errors.Is(err, peerrpc.ErrRefused) {
		t.Errorf("a huge change: %v", err)
	}
}

// TestTheLeaderTakesNoHugeBatch: whatever another node sends, an entry of the
// log is bounded, and so is what waits to become one.
func TestTheLeaderTakesNoHugeBatch(t *testing.T) {
	l := newFakeLog(1, false)
	in := l.intake
	take := func(number uint64, changes ...*storev1.Change) error {
		b := &storev1.Batch{Origin: "n2", Incarnation: 1, Number: number, Term: 1, Change: changes}
		return in.enqueue(&submission{batch: b, size: proto.Size(b), done: func(error) {}})
	}
	large := contact("alice@example.com", "bob@example.com", strings.Repeat("x", maxBatchOctets/2))
	if err := take(1, large, large); !errors.Is(err, peerrpc.ErrRefused) {
		t.Errorf("a batch of too many octets: %v", err)
	}
	if err := take(1, slices.Repeat([]*storev1.Change{account("alice@example.com")}, maxChanges+1)...); !errors.Is(err, peerrpc.ErrRefused) {
		t.Errorf("a batch of too many changes: %v", err)
	}
	var busy error
	var number uint64
	for busy == nil && number < 1000 {
		number++
		busy = take(number, large)
	}
	if !errors.Is(busy, ErrBusy) || in.queue.octets > maxWaitingOctets {
		t.Errorf("after %d large batches, of which %d octets wait: %v", number, in.queue.octets, busy)
	}
}

func TestASnapshotInPlaceOfEntriesLeavesTheOutcomeUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(1, false)
		p := proposerOf(t, l)
		p.config.CallLeader = func(context.Context, string, []*storev1.Batch) error { return nil }
		go func() {
			<-time.After(time.Second)
			p.OnRestored()
		}()
		if _, err := p.Propose(t.Context(), []*storev1.Change{account("alice")}); !errors.Is(err, peerrpc.ErrUnknown) {
			t.Errorf("%v", err)
		}
	})
}

func account(name string) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: name, Mode: storev1.PutAccount_MODE_UPSERT,
		Verifier: &storev1.Verifier{Salt: make([]byte, 16), Iterations: 10000, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)},
	}}}
}

func contact(owner, who, name string) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_SetContact{SetContact: &storev1.SetContact{Owner: owner, Address: who, Name: name}}}
}
