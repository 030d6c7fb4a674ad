package acmecert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/acmecert"
)

// shared holds the values that the nodes of a site share (acmecert.Secrets).
type shared struct {
	mu     sync.Mutex
	values map[string][]byte
	ends   map[string]time.Time
	broken error
	doubt  string // name whose Put fails though it takes effect
}

func (s *shared) Get(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[name]
}

func (s *shared) Put(_ context.Context, name string, value []byte, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	s.values[name], s.ends[name] = value, until
	if name == s.doubt {
		return errors.New("in doubt")
	}
	return nil
}

func (s *shared) Remove(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, name)
	return nil
}

func (s *shared) Refresh(context.Context) {}

func (s *shared) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.values))
}

// node is a node of a site that obtains certificates.
type node struct {
	*acmecert.Manager
	leads     atomic.Bool
	installed atomic.Pointer[[]tls.Certificate]
	stop      context.CancelFunc
}

func startNode(t *testing.T, a *fakeAuthority, s *shared, change func(*acmecert.Config)) *node {
	n := &node{}
	c := acmecert.Config{
		Domains: []string{"example.com", "chat.example.com"}, Directory: directory, Email: "ops@example.com", Challenge: acmecert.HTTP01,
		Secrets: s, IsLeader: n.leads.Load, Install: func(all []tls.Certificate) { n.installed.Store(&all) },
		HTTP: &http.Client{Transport: a}, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	n.Manager = acmecert.New(c)
	ctx, cancel := context.WithCancel(t.Context())
	n.stop = cancel
	go n.Run(ctx)
	return n
}

func (n *node) serials() (all []string) {
	if p := n.installed.Load(); p != nil {
		for _, c := range *p {
			all = append(all, fmt.Sprint(c.Leaf.DNSNames[0], " ", c.Leaf.SerialNumber))
		}
	}
	return all
}

func newShared() *shared { return &shared{values: map[string][]byte{}, ends: map[string]time.Time{}} }

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

const day = 24 * time.Hour

// Every node gets the certificates that the leader obtains; any node answers
// the authority; and they are renewed when a third of their lifetime is left.
func TestCertificatesAreObtainedAndRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		leader, other := startNode(t, a, s, nil), startNode(t, a, s, nil)
		a.check = func(_, kind, token string) error {
			w := httptest.NewRecorder()
			other.ServeHTTP(w, httptest.NewRequest("GET", "http://example.com/.well-known/acme-challenge/"+token, nil))
			if got := w.Body.String(); kind != "http-01" || w.Code != 200 || !strings.HasPrefix(got, token+".") {
				return fmt.Errorf("%s: %d %q", kind, w.Code, got)
			}
			return nil
		}
		leader.leads.Store(true)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		first := []string{"example.com 100", "chat.example.com 101"}
		expect(t, "at the leader", leader.serials(), first)
		expect(t, "at another node", other.serials(), first)
		expect(t, "what is left", s.names(), []string{"acme/account", "acme/certificate/chat.example.com", "acme/certificate/example.com"})
		expect(t, "kept until", s.ends["acme/certificate/example.com"].Sub((*leader.installed.Load())[0].Leaf.NotAfter), 30*day)

		time.Sleep(6*day - time.Minute)
		synctest.Wait()
		expect(t, "before a third is left", other.serials(), first)

		leader.leads.Store(false) // another leader goes on with the same account
		other.leads.Store(true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		second := []string{"example.com 102", "chat.example.com 103"}
		expect(t, "renewed, at the node that has led", leader.serials(), second)
		expect(t, "renewed, at the leader", other.serials(), second)
		expect(t, "accounts", len(a.accounts), 1)
		leader.stop()
		other.stop()
		synctest.Wait()
	})
}

// The authority may also ask by TLS.
func TestChallengesAreAnsweredByTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		n := startNode(t, a, s, func(c *acmecert.Config) { c.Challenge = acmecert.TLSALPN01 })
		a.check = func(domain, kind, _ string) error {
			for name, hello := range map[string]tls.ClientHelloInfo{
				"a client":       {ServerName: domain, SupportedProtos: []string{"simp"}},
				"no ALPN":        {ServerName: domain},
				"another domain": {ServerName: "example.org", SupportedProtos: []string{"acme-tls/1"}},
			} {
				if n.ChallengeCertificate(&hello) != nil {
					return fmt.Errorf("%s is shown the answer", name)
				}
			}
			c := n.ChallengeCertificate(&tls.ClientHelloInfo{ServerName: domain, SupportedProtos: []string{"acme-tls/1"}})
			if c == nil || kind != "tls-alpn-01" {
				return errors.New("no answer")
			}
			leaf, err := x509.ParseCertificate(c.Certificate[0])
			if err != nil || leaf.VerifyHostname(domain) != nil {
				return fmt.Errorf("the certificate %v: %w", leaf.DNSNames, err)
			}
			for _, e := range leaf.Extensions {
				if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) && e.Critical && len(e.Value) == 34 {
					return nil
				}
			}
			return errors.New("no answer in the certificate")
		}
		n.leads.Store(true)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		expect(t, "installed", n.serials(), []string{"example.com 100", "chat.example.com 101"})
		if c := n.ChallengeCertificate(&tls.ClientHelloInfo{ServerName: "example.com", SupportedProtos: []string{"acme-tls/1"}}); c != nil {
			t.Error("the answer is still given afterwards")
		}
		n.stop()
		synctest.Wait()
	})
}

// A failure is reported, and the next attempts come more and more rarely; one
// domain does not stand in the way of another.
func TestFailuresAreReportedAndRetriedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		n := startNode(t, a, s, nil)
		a.check = func(domain, _, _ string) error {
			if domain == "example.com" {
				return errors.New("connection refused")
			}
			return nil
		}
		n.leads.Store(true)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		expect(t, "installed", n.serials(), []string{"chat.example.com 101"})
		failures := n.Failures()
		if len(failures) != 1 || failures[0].Domain != "example.com" || failures[0].Count != 1 || !strings.Contains(failures[0].Err.Error(), "connection refused") {
			t.Fatalf("failures: %+v", failures)
		}
		time.Sleep(2 * day)
		synctest.Wait()
		// After 0, 10, 30, 70, 150 and 310 minutes, and then every six hours.
		expect(t, "failed attempts in two days", n.Failed.Load(), 13)
		a.mu.Lock()
		a.check = func(string, string, string) error { return nil }
		a.mu.Unlock()
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		expect(t, "failures in the end", len(n.Failures()), 0)
		expect(t, "certificates in the end", len(n.serials()), 2)

		n.stop()
		synctest.Wait()
	})
}

// Who leads for a moment and then again does not try again at once, and whoever
// does not lead reports nothing.
func TestPausesOutliveALossOfLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		n := startNode(t, a, s, func(c *acmecert.Config) { c.Domains = c.Domains[:1] })
		a.check = func(string, string, string) error { return errors.New("connection refused") }
		for range 6 {
			n.leads.Store(true)
			time.Sleep(15 * time.Second)
			expect(t, "failures while it leads", len(n.Failures()), 1)
			n.leads.Store(false)
			expect(t, "failures while it does not", len(n.Failures()), 0)
			time.Sleep(15 * time.Second)
		}
		expect(t, "attempts", n.Failed.Load(), 1)
		n.stop()
		synctest.Wait()
	})
}

// A certificate that came though its attempt seemed to fail, as where the site's
// agreement was in doubt, is no failure any more.
func TestAFailureEndsWithTheCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		n := startNode(t, a, s, func(c *acmecert.Config) { c.Domains = c.Domains[:1] })
		s.doubt = "acme/certificate/example.com"
		n.leads.Store(true)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		expect(t, "failed attempts", n.Failed.Load(), 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		expect(t, "failures", len(n.Failures()), 0)
		expect(t, "installed", n.serials(), []string{"example.com 100"})
		n.stop()
		synctest.Wait()
	})
}

// A certificate stays in use while this node cannot read the shared one, and one
// domain's slow authority does not hold up what another has obtained.
func TestInstalledCertificatesStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		n := startNode(t, a, s, nil)
		slow := make(chan struct{})
		a.check = func(domain, _, _ string) error {
			if domain == "chat.example.com" {
				<-slow
			}
			return nil
		}
		n.leads.Store(true)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		expect(t, "installed while another is obtained", n.serials(), []string{"example.com 100"})
		close(slow)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		n.leads.Store(false)
		both := []string{"example.com 100", "chat.example.com 101"}
		expect(t, "installed", n.serials(), both)
		s.mu.Lock()
		clear(s.values)
		s.mu.Unlock()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		expect(t, "without the key", n.serials(), both)
		time.Sleep(10 * day)
		synctest.Wait()
		expect(t, "after their end", len(n.serials()), 0)
		n.stop()
		synctest.Wait()
	})
}

// The authority's Retry-After is kept to.
func TestRetryAfterIsKeptTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		var orders atomic.Int64
		a.refuse = func(w http.ResponseWriter) bool {
			orders.Add(1)
			w.Header().Set("Retry-After", fmt.Sprint(int((20*time.Hour)/time.Second)))
			reply(w, http.StatusForbidden, map[string]any{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates"})
			return true
		}
		n := startNode(t, a, s, func(c *acmecert.Config) { c.Domains = c.Domains[:1] })
		n.leads.Store(true)
		time.Sleep(19 * time.Hour)
		synctest.Wait()
		expect(t, "orders in 19 hours", orders.Load(), 1)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		expect(t, "orders in 21 hours", orders.Load(), 2)
		n.stop()
		synctest.Wait()
	})
}

// A certificate of another authority, as of one for tries, is replaced.
func TestAnotherDirectoryBringsNewCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		for i, at := range []string{"https://staging.example.net/dir", directory} {
			n := startNode(t, a, s, func(c *acmecert.Config) { c.Directory, c.Domains = at, c.Domains[:1] })
			n.leads.Store(true)
			time.Sleep(15 * time.Second)
			synctest.Wait()
			expect(t, at, n.serials(), []string{fmt.Sprint("example.com ", 100+i)})
			n.stop()
			synctest.Wait()
		}
		expect(t, "accounts", len(a.accounts), 2)
	})
}

// After a theft, the account and the certificates are replaced once.
func TestWhatWasMadeBeforeATimeIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		for i := range 2 {
			stolen := time.Time{}
			if i > 0 {
				stolen = time.Now()
			}
			n := startNode(t, a, s, func(c *acmecert.Config) { c.Domains, c.ReissueBefore = c.Domains[:1], stolen })
			n.leads.Store(true)
			time.Sleep(time.Hour)
			synctest.Wait()
			expect(t, "installed", n.serials(), []string{fmt.Sprint("example.com ", 100+i)})
			expect(t, "accounts", len(a.accounts), 1+i)
			n.stop()
			synctest.Wait()
		}
	})
}

// What the site cannot share is not used: no account is registered whose key
// only this node has, and nothing is installed.
func TestNothingIsUsedThatIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := newFakeAuthority(9*day), newShared()
		s.broken = errors.New("no majority")
		n := startNode(t, a, s, nil)
		n.leads.Store(true)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		expect(t, "accounts", len(a.accounts), 0)
		expect(t, "failures", len(n.Failures()), 2)
		expect(t, "installed", len(n.serials()), 0)
		n.stop()
		synctest.Wait()
	})
}

// Only the exact path of an answer is served.
func TestOtherRequestsAreNotFound(t *testing.T) {
	s := newShared()
	s.values["acme/http-01/abc"] = []byte("abc.key")
	m := acmecert.New(acmecert.Config{Secrets: s, Challenge: acmecert.HTTP01})
	for _, request := range []string{
		"GET /", "GET /.well-known/acme-challenge/", "GET /.well-known/acme-challenge/abd", "POST /.well-known/acme-challenge/abc",
		"GET /.well-known/acme-challenge/../abc", "GET /.well-known/acme-challenge/" + strings.Repeat("a", 200), "GET /x/.well-known/acme-challenge/abc",
	} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest(method, "http://example.com"+path, nil))
		expect(t, request, w.Code, http.StatusNotFound)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "http://example.com/.well-known/acme-challenge/abc", nil))
	expect(t, "the answer", w.Body.String(), "abc.key")
	expect(t, "its type", w.Header().Get("Content-Type"), "application/octet-stream")
}
