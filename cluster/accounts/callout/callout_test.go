package callout

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

var login = protocol.PasswordLogin{
	User: protocol.CanonicalAddress("dora@example.com"), Password: "right", Remote: netip.MustParseAddrPort("192.0.2.7:1234"), TLS: true,
}

func newSource(t *testing.T, change func(*Config), answer http.HandlerFunc) *Source {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := Config{Name: "club", URL: server.URL + "/simp", Roots: roots, Bearer: "secret", Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// The program is told all about the login, once.
func TestQuestion(t *testing.T) {
	asked := 0
	s := newSource(t, nil, func(w http.ResponseWriter, r *http.Request) {
		asked++
		var q map[string]any
		err := json.NewDecoder(r.Body).Decode(&q)
		want := "map[client:192.0.2.7 ima:dora@example.com password:right tls:true]"
		if got := fmt.Sprint(q); err != nil || got != want || r.Method != http.MethodPost || r.URL.String() != "/simp" {
			t.Errorf("%s %s: %s, %v", r.Method, r.URL, got, err)
		}
		if a := r.Header.Get("Authorization"); a != "Bearer secret" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v", r.Header)
		}
		fmt.Fprint(w, `{"result":"allow","ttl":60}`)
	})
	a, err := s.CheckPassword(t.Context(), login)
	if err != nil || a.Verdict != accounts.Accepted || asked != 1 {
		t.Fatalf("%v, %v, asked %d times", a, err, asked)
	}
	if left := time.Until(a.Expiry.At); left <= 0 || left > time.Minute || a.Expiry.Reason != "the login has expired" {
		t.Errorf("it expires in %v: %s", left, a.Expiry.Reason)
	}
	empty := login
	empty.Password = ""
	if a, err := s.CheckPassword(t.Context(), empty); err != nil || a.Verdict != accounts.Rejected || asked != 1 {
		t.Errorf("an empty password: %v, %v", a, err)
	}
}

// Only an answer as documented says something of the password.
func TestAnswers(t *testing.T) {
	for body, want := range map[string]struct {
		verdict accounts.Verdict
		failed  bool
	}{
		`{"result":"allow"}`:                   {accounts.Accepted, false},
		`{"result":"deny","reason":"because"}`: {accounts.Rejected, false},
		`{"result":"defer"}`:                   {accounts.Unknown, false},
		`{"result":"ALLOW"}`:                   {0, true},
		`{}`:                                   {0, true},
		`{"result":"allow","ttl":-1}`:          {0, true},
		`{"result":"allow","ttl":1e300}`:       {0, true},
		`allow`:                                {0, true},
		``:                                     {0, true},
		`{"result":"allow"} {"result":"deny"}`: {0, true},
		`{"x":"` + strings.Repeat("x", 2*maxResponse): {0, true},
	} {
		s := newSource(t, nil, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
		a, err := s.CheckPassword(t.Context(), login)
		if (err != nil) != want.failed || a.Verdict != want.verdict || a.Expiry != nil {
			t.Errorf("%.60s: %v, %v", body, a, err)
		}
	}
	for _, status := range []int{201, 204, 301, 307, 401, 403, 404, 429, 500, 503} {
		s := newSource(t, nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				fmt.Fprint(w, `{"result":"allow"}`)
			}
		})
		if a, err := s.CheckPassword(t.Context(), login); err == nil {
			t.Errorf("%d: %v", status, a)
		}
	}
}

// inMemory has the source ask a program over connections in memory, which work
// in fake time.
func inMemory(t *testing.T, answer http.HandlerFunc) *Source {
	t.Helper()
	s, err := New(Config{Name: "club", URL: "http://127.0.0.1/simp", Insecure: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l := pipeListener{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: answer}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		_ = server.Close()
	})
	s.client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		l.conns <- theirs
		return ours, nil
	}
	return s
}

// pipeListener is a listener for connections in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error {
	close(l.closed)
	return nil
}

// A program that fails a few times in a row is left alone for a while, and asked
// again afterwards.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		var broken atomic.Bool
		broken.Store(true)
		s := inMemory(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			if broken.Load() {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			fmt.Fprint(w, `{"result":"deny"}`)
		})
		for range 10 {
			if a, err := s.CheckPassword(t.Context(), login); err == nil {
				t.Errorf("%v", a)
			}
		}
		if n := asked.Load(); n != tolerance+1 || !s.Servers()[s.config.URL] {
			t.Errorf("it was asked %d times, and counts as failing: %v", n, s.Servers()[s.config.URL])
		}
		broken.Store(false)
		time.Sleep(time.Second)
		if a, err := s.CheckPassword(t.Context(), login); err != nil || a.Verdict != accounts.Rejected || s.Servers()[s.config.URL] {
			t.Errorf("%v, %v", a, err)
		}
	})
}

// A program has 3 s to answer, whatever the query's time is. A login that was
// given up is not its fault.
func TestTimeOfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		for range 2 * tolerance {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if a, err := s.CheckPassword(ctx, login); err == nil {
				t.Errorf("%v", a)
			}
			cancel()
		}
		if s.Servers()[s.config.URL] {
			t.Error("it counts as failing after 100 ms")
		}
		for range tolerance + 1 {
			began := time.Now()
			if a, err := s.CheckPassword(t.Context(), login); err == nil || time.Since(began) != protocol.SourceTimeout {
				t.Errorf("%v after %v", a, time.Since(began))
			}
		}
		if !s.Servers()[s.config.URL] {
			t.Error("its silence does not count")
		}
	})
}

// Passwords go to a server with a trusted certificate only.
func TestCertificate(t *testing.T) {
	s := newSource(t, func(c *Config) { c.Roots = x509.NewCertPool() }, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	if a, err := s.CheckPassword(t.Context(), login); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v, %v", a, err)
	}
}

func TestCheckURL(t *testing.T) {
	for url, want := range map[string][2]bool{ // right, and right if insecure
		"https://login.example.com/simp": {true, true}, "http://127.0.0.1:80/": {false, true}, "http://[::1]/x": {false, true}, "http://localhost": {false, true},
		"http://login.example.com": {false, false}, "ftp://x": {false, false}, "login.example.com": {false, false}, "https://u:p@x": {false, false}, "https://x/?key=1": {false, false}, "https://x/?": {false, false}, "https://": {false, false},
	} {
		for i, insecure := range []bool{false, true} {
			if err := CheckURL(url, insecure); (err == nil) != want[i] {
				t.Errorf("%s, insecure %v: %v", url, insecure, err)
			}
		}
	}
	if _, err := New(Config{URL: "x"}); err == nil {
		t.Error("a source without a URL")
	}
}
