package blockfeed

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// pipeListener is a network in memory, in which connections wait in fake time.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.done) }); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// listServer serves a list over HTTPS.
type listServer struct {
	*httptest.Server
	listener *pipeListener
	key      ed25519.PrivateKey

	mu       sync.Mutex
	text     string
	etag     string
	signed   string // what the signature is of; "": the text
	status   int    // instead of the list; 0: none
	silent   bool   // it never answers
	requests []string
}

// newListServer starts a server in a bubble.
func newListServer(t *testing.T, text string) *listServer {
	s := &listServer{listener: newPipeListener(), text: text, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))}
	s.Server = &httptest.Server{Listener: s.listener, Config: &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *listServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.URL.Path+r.Header.Get("If-None-Match"))
	switch {
	case s.silent:
		s.mu.Unlock()
		<-r.Context().Done()
		s.mu.Lock()
	case s.status != 0:
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(s.status)
	case r.URL.Path == "/list.txt.sig":
		of := s.signed
		if of == "" {
			of = s.text
		}
		fmt.Fprintln(w, base64.StdEncoding.EncodeToString(ed25519.Sign(s.key, []byte(of))))
	case s.etag != "" && r.Header.Get("If-None-Match") == s.etag:
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Header().Set("ETag", s.etag)
		io.WriteString(w, s.text)
	}
}

// change changes the server.
func (s *listServer) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// takeRequests returns what was asked for since it was last called.
func (s *listServer) takeRequests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.requests, " ")
	s.requests = nil
	return all
}

func (s *listServer) signedSource(name string) Source {
	return Source{Name: name, URL: "https://example.com/list.txt", Key: s.key.Public().(ed25519.PublicKey), Interval: DefaultInterval}
}

func (s *listServer) pinnedSource(name string) Source {
	pin := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	return Source{Name: name, URL: "https://not-in-the-certificate.example/list.txt", Pin: pin[:], Interval: DefaultInterval}
}

func (s *listServer) fetcher() Fetcher {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return Fetcher{Roots: roots, Dial: s.listener.dial}
}

// testTable is a table in memory (Table).
type testTable struct {
	mu      sync.Mutex
	feeds   map[string]map[protocol.BlockTarget]Entry
	room    int
	refuses error
	changes []int // sizes
}

func (t *testTable) HasBlocks() bool { return true }

func (t *testTable) Feeds() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.feeds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (t *testTable) Blocks(feed string) map[protocol.BlockTarget]Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[protocol.BlockTarget]Entry{}
	for k, v := range t.feeds[feed] {
		all[k] = v
	}
	return all
}

func (t *testTable) Room() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.room
}

// set sets how much room there is, and what changes are answered.
func (t *testTable) set(room int, refuses error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room, t.refuses = room, refuses
}

func (t *testTable) Change(_ context.Context, feed string, remove []protocol.BlockTarget, add []Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refuses != nil {
		return t.refuses
	}
	t.changes = append(t.changes, len(remove)+len(add))
	if t.feeds[feed] == nil {
		t.feeds[feed] = map[protocol.BlockTarget]Entry{}
	}
	for _, target := range remove {
		delete(t.feeds[feed], target)
	}
	for _, e := range add {
		t.feeds[feed][e.Target] = e
	}
	return nil
}

func (t *testTable) Drop(_ context.Context, feed string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refuses != nil {
		return t.refuses
	}
	delete(t.feeds, feed)
	return nil
}

// targets returns the targets of a feed's blocks.
func (t *testTable) targets(feed string) string {
	var all []string
	for target := range t.Blocks(feed) {
		all = append(all, target.String())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// testManager is a Manager that runs until the test ends.
type testManager struct {
	*Manager
	table *testTable
	leads atomic.Bool
}

func startManager(t *testing.T, fetcher Fetcher, sources ...Source) *testManager {
	m := &testManager{table: &testTable{feeds: map[string]map[protocol.BlockTarget]Entry{}, room: 1000}}
	m.leads.Store(true)
	m.Manager = New(Config{
		Sources: sources, Domains: []string{"own.example"}, Table: m.table, IsLeader: m.leads.Load,
		Fetcher: fetcher, Logger: slog.New(slog.DiscardHandler),
	})
	return m
}

// run runs the manager.
func (m *testManager) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	m.pass(0)
}

// pass lets time pass, and a check after it.
func (m *testManager) pass(d time.Duration) {
	time.Sleep(d + checkInterval)
	synctest.Wait()
}

func (m *testManager) status(t *testing.T) Status {
	t.Helper()
	all := m.Statuses()
	if len(all) != 1 {
		t.Fatalf("the statuses are %+v", all)
	}
	return all[0]
}

func TestAFeedFollowsItsList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer(t, "@a.example\n@b.example\n@own.example\n")
		s.etag = `"1"`
		m := startManager(t, s.fetcher(), s.signedSource("f"))
		m.run(t)
		if got := m.table.targets("f"); got != "@a.example @b.example" {
			t.Fatalf("blocked are %q; %v", got, m.Problems())
		}
		if problems := m.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "line 3: @own.example is a domain of this site") {
			t.Errorf("the problems are %q", problems)
		}
		if got := s.takeRequests(); got != "/list.txt /list.txt.sig" {
			t.Errorf("asked for %s", got)
		}
		m.pass(DefaultInterval)
		if got := s.takeRequests(); got != `/list.txt"1"` || m.status(t).Fetched != 2 || m.status(t).Entries != 2 {
			t.Errorf("asked for %s; %+v", got, m.status(t))
		}
		s.change(func() { s.text, s.etag = "@b.example why\n@c.example\n", `"2"` })
		m.pass(DefaultInterval)
		if got := m.table.targets("f"); got != "@b.example @c.example" || m.table.Blocks("f")[protocol.CanonicalBlockTarget("@b.example")].Reason != "why" {
			t.Errorf("blocked are %q", got)
		}
		if problems := m.Problems(); len(problems) != 0 {
			t.Errorf("the problems are %q", problems)
		}
	})
}

// TestAPinTakesThePlaceOfAuthorities: the server's certificate is another name's,
// of an authority that is not known.
func TestAPinTakesThePlaceOfAuthorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer(t, "@a.example\n")
		m := startManager(t, Fetcher{Dial: s.listener.dial}, s.pinnedSource("f"))
		m.run(t)
		if got := m.table.targets("f"); got != "@a.example" || s.takeRequests() != "/list.txt" {
			t.Errorf("blocked are %q; %v", got, m.Problems())
		}
	})
}

// TestAWrongFeedChangesNothing: whatever is wrong with a feed, its blocks stay, and
// operators are told; when it is mended, it is used.
func TestAWrongFeedChangesNothing(t *testing.T) {
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	for name, c := range map[string]struct {
		spoil func(*listServer, *testManager)
		want  string
	}{
		"another key":   {func(s *listServer, _ *testManager) { s.key = other }, "the signature is not the key's"},
		"another list":  {func(s *listServer, _ *testManager) { s.signed = "@x.example\n" }, "the signature is not the key's"},
		"a bad line":    {func(s *listServer, _ *testManager) { s.text = "@a.example\n@x.example\nnonsense" }, "line 3: invalid target nonsense"},
		"too long":      {func(s *listServer, _ *testManager) { s.text = strings.Repeat("#", MaxOctets+1) }, "longer than 1048576 octets"},
		"a redirect":    {func(s *listServer, _ *testManager) { s.status = http.StatusFound }, `redirects to "https://elsewhere.example/", which is not followed`},
		"not found":     {func(s *listServer, _ *testManager) { s.status = http.StatusNotFound }, "404"},
		"not asked for": {func(s *listServer, _ *testManager) { s.status = http.StatusNotModified }, "answers 304"},
		"silence":       {func(s *listServer, _ *testManager) { s.silent = true }, "context deadline exceeded"},
		"no room":       {func(s *listServer, m *testManager) { s.text += "@x.example\n"; m.table.set(0, nil) }, "room for 1 more blocks; feeds may add 0"},
		"a table refuses": {func(s *listServer, m *testManager) {
			s.text += "@x.example\n"
			m.table.set(1000, errors.New("no majority"))
		}, "no majority"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newListServer(t, "@a.example\n@b.example\n")
				m := startManager(t, s.fetcher(), s.signedSource("f"))
				m.run(t)
				success, key := m.status(t).Success, s.key
				s.change(func() { c.spoil(s, m) })
				m.pass(DefaultInterval + fetchTimeout)
				if got := m.table.targets("f"); got != "@a.example @b.example" {
					t.Errorf("blocked are %q", got)
				}
				got := m.status(t)
				if got.Err == nil || !strings.Contains(got.Err.Error(), c.want) || got.Failed != 1 || !got.Success.Equal(success) {
					t.Fatalf("the status is %+v", got)
				}
				if problems := m.Problems(); len(problems) != 1 || !strings.Contains(problems[0], c.want) || !strings.Contains(problems[0], success.UTC().Format(time.RFC3339)) {
					t.Errorf("the problems are %q", problems)
				}
				s.change(func() { s.text, s.signed, s.status, s.silent, s.key = "@c.example\n", "", 0, false, key })
				m.table.set(1000, nil)
				m.pass(firstRetry)
				if got := m.table.targets("f"); got != "@c.example" || len(m.Problems()) != 0 {
					t.Errorf("mended, blocked are %q; %v", got, m.Problems())
				}
			})
		})
	}
}

// TestAServerWithAnotherKeyIsNotBelieved: neither a pin nor the authorities let
// another server speak.
func TestAServerWithAnotherKeyIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer(t, "@a.example\n")
		wrong := s.pinnedSource("pinned")
		wrong.Pin = make([]byte, sha256.Size)
		both := s.signedSource("both")
		both.Pin = wrong.Pin
		m := startManager(t, Fetcher{Dial: s.listener.dial}, wrong, both, s.signedSource("unknown"))
		m.run(t)
		problems := strings.Join(m.Problems(), "\n")
		if strings.Count(problems, "its pin is "+base64.StdEncoding.EncodeToString(s.pinnedSource("").Pin)) != 2 || !strings.Contains(problems, "certificate signed by unknown authority") {
			t.Errorf("the problems are %s", problems)
		}
		if got := s.takeRequests(); got != "" || len(m.table.Feeds()) != 0 {
			t.Errorf("asked for %q", got)
		}
	})
}

// TestAFeedThatIsDownIsAskedLessAndLess: the pauses double up to the interval.
func TestAFeedThatIsDownIsAskedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer(t, "")
		s.status = http.StatusServiceUnavailable
		source := s.signedSource("f")
		source.Interval = 5 * time.Minute
		m := startManager(t, s.fetcher(), source)
		attempted := time.Now()
		m.run(t)
		for i, pause := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
			got := m.status(t)
			if got.Failed != uint64(i+1) || got.Next.Sub(attempted) != pause {
				t.Fatalf("after attempt %d, %v: %+v", i+1, attempted, got)
			}
			time.Sleep(time.Until(got.Next) - time.Millisecond)
			synctest.Wait()
			if m.status(t).Failed != got.Failed {
				t.Errorf("attempt %d came too early", i+2)
			}
			attempted = got.Next
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
		}
	})
}

// TestOnlyTheLeaderFetches: and a new one fetches at once, as a whole.
func TestOnlyTheLeaderFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer(t, "@a.example\n")
		s.etag = `"1"`
		m := startManager(t, s.fetcher(), s.signedSource("f"))
		m.leads.Store(false)
		m.run(t)
		m.pass(2 * DefaultInterval)
		if got := s.takeRequests(); got != "" || len(m.Statuses()) != 0 {
			t.Fatalf("asked for %q", got)
		}
		m.leads.Store(true)
		m.pass(0)
		m.leads.Store(false)
		m.pass(0)
		if got := m.status(t); !got.Success.IsZero() || got.Fetched != 1 {
			t.Errorf("after it led: %+v", got)
		}
		s.takeRequests()
		m.leads.Store(true)
		m.pass(0)
		if got := s.takeRequests(); got != "/list.txt /list.txt.sig" {
			t.Errorf("asked for %s", got)
		}
	})
}

func TestARemovedFeedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer(t, "@a.example\n")
		m := startManager(t, s.fetcher(), s.signedSource("kept"))
		m.table.feeds["removed"] = map[protocol.BlockTarget]Entry{protocol.CanonicalBlockTarget("@b.example"): {}}
		m.table.set(1000, errors.New("no majority"))
		m.run(t)
		if got := m.table.Feeds(); !slices.Contains(got, "removed") {
			t.Fatalf("the feeds are %q", got)
		}
		m.table.set(1000, nil)
		m.pass(sweepRetry)
		if got := m.table.Feeds(); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("the feeds are %q", got)
		}
	})
}

// TestChangesAreBounded: a list of the greatest size becomes pieces.
func TestChangesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list strings.Builder
		for i := range MaxEntries {
			fmt.Fprintf(&list, "u%d@evil.example\n", i)
		}
		s := newListServer(t, list.String())
		m := startManager(t, s.fetcher(), s.signedSource("f"))
		m.table.set(MaxEntries, nil)
		m.run(t)
		if got := len(m.table.Blocks("f")); got != MaxEntries || slices.Max(m.table.changes) > changeEntries {
			t.Errorf("%d blocks, changes of up to %d; %v", got, slices.Max(m.table.changes), m.Problems())
		}
		s.change(func() { s.text = "" })
		m.pass(DefaultInterval)
		if got := len(m.table.Blocks("f")); got != 0 || slices.Max(m.table.changes) > changeEntries {
			t.Errorf("%d blocks are left", got)
		}
		long := []Entry{{Reason: strings.Repeat("x", changeOctets+1)}, {Reason: "y"}}
		if n := firstPiece(long); n != 1 {
			t.Errorf("%d entries in a piece", n)
		}
	})
}

// TestAStopEndsAFetch: Run returns at once when its context ends.
func TestAStopEndsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer(t, "")
		s.silent = true
		m := startManager(t, s.fetcher(), s.signedSource("f"))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancel() }()
		before := time.Now()
		m.Run(ctx)
		if took := time.Since(before); took != time.Second || len(m.Statuses()) != 0 {
			t.Errorf("Run took %v; %+v", took, m.Statuses())
		}
	})
}
