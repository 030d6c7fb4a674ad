package accounts

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"simpd/protocol"
)

const (
	maxInFlight     = 64              // queries to a source
	rejectionMemory = 5 * time.Second // while a rejection is not asked again
	maxRejections   = 1 << 14         // that are remembered for a source
)

// member is a source as the Registry asks it.
type member struct {
	name    string
	source  Source // nil: the table
	key     []byte
	slots   chan struct{}
	merged  singleflight.Group // by the key of a query
	slow    slowQueries
	metrics *Metrics
	recent  rejections
}

func newMember(r *Registry, name string, s Source) *member {
	return &member{
		name: name, source: s, key: r.key[:], slots: make(chan struct{}, maxInFlight), metrics: r.metrics.of(name, s.Type()),
		recent: rejections{byKey: map[queryKey]rejection{}},
	}
}

// has reports whether the member, which may be nil, is that very source.
func (m *member) has(s Source) bool {
	return m != nil && reflect.TypeOf(s).Comparable() && m.source == s
}

func (m *member) isTable() bool { return m.source == nil }

func (m *member) checksPasswords() bool {
	_, ok := m.source.(PasswordSource)
	return ok
}

func (m *member) close() { m.source.Close() }

// checkPassword asks the source about a password.
func (m *member) checkPassword(ctx context.Context, l protocol.PasswordLogin) (Answer, error) {
	client := ""
	if aware, ok := m.source.(ClientAware); ok && aware.DependsOnClient() {
		client = l.Remote.Addr().String()
	}
	return m.ask(ctx, m.keyOf("password", l.User.String(), l.Password, client), func(ctx context.Context) (Answer, error) {
		return m.source.(PasswordSource).CheckPassword(ctx, l)
	})
}

// queryKey identifies a query in this process without revealing it.
type queryKey [sha256.Size]byte

// keyOf returns the key of a query, which consists of these parts.
func (m *member) keyOf(parts ...string) (k queryKey) {
	mac := hmac.New(sha256.New, m.key)
	for _, p := range parts {
		mac.Write(binary.AppendUvarint(nil, uint64(len(p))))
		mac.Write([]byte(p))
	}
	mac.Sum(k[:0])
	return k
}

// ask makes a query, unless the same one was rejected a moment ago or is being
// made. It waits until ctx ends; the query may go on, and what it learns answers
// the next login. Errors are *UnavailableErrors.
func (m *member) ask(ctx context.Context, k queryKey, query func(context.Context) (Answer, error)) (Answer, error) {
	if verdict, ok := m.recent.find(k, time.Now()); ok {
		m.metrics.Remembered.Add(1)
		return Answer{Verdict: verdict, Source: m.name}, nil
	}
	done := m.merged.DoChan(string(k[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), protocol.SourceTimeout)
		defer cancel() // others may have joined the one who began
		return m.makeQuery(ctx, k, query)
	})
	select {
	case r := <-done:
		if r.Shared {
			m.metrics.Merged.Add(1)
		}
		a, _ := r.Val.(Answer)
		return a, r.Err
	case <-ctx.Done():
		return Answer{}, m.unavailable(errTooSlow)
	}
}

// errTooSlow is the cause of errors about sources that do not answer in time.
var errTooSlow = fmt.Errorf("no answer within %v", protocol.SourceTimeout)

// makeQuery makes a query once there is room for it, before ctx ends. The query
// has its whole time then, however long it has waited.
func (m *member) makeQuery(ctx context.Context, k queryKey, query func(context.Context) (Answer, error)) (Answer, error) {
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		m.metrics.Unavailable.Add(1)
		return Answer{}, m.unavailable(fmt.Errorf("%d queries are in flight already", maxInFlight))
	}
	m.metrics.InFlight.Add(1)
	defer m.metrics.InFlight.Add(-1)
	began := time.Now()
	ctx, done := m.slow.limit(context.WithoutCancel(ctx))
	defer done()
	a, err := query(ctx)
	m.metrics.Duration.ObserveSince(began)
	if err != nil {
		m.metrics.Unavailable.Add(1)
		return Answer{}, m.unavailable(err)
	}
	m.metrics.Verdicts[a.Verdict].Add(1)
	if a.Verdict != Accepted {
		m.recent.remember(k, a.Verdict, time.Now())
	}
	a.Source = m.name
	return a, nil
}

func (m *member) unavailable(err error) error {
	e := &UnavailableError{Source: m.name, Err: err}
	if inner, ok := errors.AsType[*UnavailableError](err); ok {
		e.Err, e.Retry = inner.Err, inner.Retry
	}
	return e
}

// rejections remembers queries that were not accepted. Any goroutine may use
// it.
type rejections struct {
	mu    sync.Mutex
	byKey map[queryKey]rejection
}

type rejection struct {
	verdict Verdict
	until   time.Time
}

func (r *rejections) find(k queryKey, now time.Time) (Verdict, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.byKey[k]
	return found.verdict, ok && now.Before(found.until)
}

// remember records a rejection. If there is no room, it forgets those that have
// ended, or else an arbitrary one.
func (r *rejections) remember(k queryKey, v Verdict, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.byKey) >= maxRejections {
		for other, old := range r.byKey {
			if !now.Before(old.until) {
				delete(r.byKey, other)
			}
		}
	}
	for other := range r.byKey {
		if len(r.byKey) < maxRejections {
			break
		}
		delete(r.byKey, other)
	}
	r.byKey[k] = rejection{v, now.Add(rejectionMemory)}
}
