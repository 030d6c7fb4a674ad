// Package callout is the account source that asks a program of the operator's
// over HTTP: one POST for each login, which the program allows, denies, or
// leaves to the next source.
package callout

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// Config configures a Source.
type Config struct {
	Name string // of the source
	// URL is the address to ask: https://, or http:// if Insecure is set.
	URL string
	// Roots are the authorities of the server; nil: those of the system.
	Roots *x509.CertPool
	// Insecure allows http://, for loopback only.
	Insecure bool
	// Bearer is sent as a bearer token; "": none is.
	Bearer string
	Logger *slog.Logger
}

// Source asks a program. Any goroutine may call its methods.
type Source struct {
	config  Config
	client  *http.Client
	breaker accounts.Breaker
}

// The capabilities of a call-out.
var (
	_ accounts.PasswordSource = (*Source)(nil)
	_ accounts.ClientAware    = (*Source)(nil)
	_ accounts.Monitored      = (*Source)(nil)
)

const (
	tolerance   = 2        // failures in a row before the program is left alone
	maxConns    = 64       // connections to it
	maxResponse = 64 << 10 // octets
)

// CheckURL checks where a call-out goes.
func CheckURL(s string, insecure bool) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("invalid URL %q: must be like https://login.example.com/simp", s)
	}
	if u.RawQuery != "" || u.ForceQuery {
		return fmt.Errorf("%s://%s%s has a query, which logs would show: give the program a secret with bearer_file", u.Scheme, u.Host, u.Path)
	}
	if u.Scheme == "https" {
		return nil
	}
	ip, err := netip.ParseAddr(u.Hostname())
	switch {
	case !insecure:
		return fmt.Errorf("%s is not secured: passwords are sent to https:// only", s)
	case u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()):
		return fmt.Errorf("%s is not loopback, and passwords must not be sent there without TLS", s)
	}
	return nil
}

// New returns a Source. It does not connect yet.
func New(c Config) (*Source, error) {
	if err := CheckURL(c.URL, c.Insecure); err != nil {
		return nil, err
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		MaxConnsPerHost: maxConns, MaxIdleConnsPerHost: maxConns, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}
	return &Source{
		config: c, breaker: accounts.Breaker{Tolerance: tolerance},
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Type returns "callout".
func (*Source) Type() string { return "callout" }

// DependsOnClient reports that the program is told where the client is.
func (*Source) DependsOnClient() bool { return true }

// Close closes the connections that no query uses.
func (s *Source) Close() { s.client.CloseIdleConnections() }

// Servers returns whether the program is failing.
func (s *Source) Servers() map[string]bool {
	return map[string]bool{s.config.URL: s.breaker.IsOpen()}
}

// question is the body of a request.
type question struct {
	IMA      string `json:"ima"`
	Password string `json:"password"`
	Client   string `json:"client"` // the client's IP address
	TLS      bool   `json:"tls"`    // whether the client's connection is encrypted
}

// reply is the body of a response.
type reply struct {
	Result string  `json:"result"` // allow, deny or defer
	TTL    float64 `json:"ttl"`    // seconds until the user has to log in again; 0: never
}

// CheckPassword asks the program.
func (s *Source) CheckPassword(ctx context.Context, l protocol.PasswordLogin) (accounts.Answer, error) {
	if l.Password == "" {
		return accounts.Answer{Verdict: accounts.Rejected}, nil
	}
	allowed, retry := s.breaker.Allow(time.Now())
	if !allowed {
		return accounts.Answer{}, &accounts.UnavailableError{Source: s.config.Name, Retry: retry, Err: errors.New("it has failed a moment ago")}
	}
	failed := s.breaker.IsOpen()
	ctx, cancel := context.WithTimeout(ctx, protocol.SourceTimeout)
	defer cancel()
	began := time.Now()
	r, err := s.post(ctx, question{IMA: l.User.String(), Password: l.Password, Client: l.Remote.Addr().Unmap().String(), TLS: l.TLS})
	var a accounts.Answer
	if err == nil {
		a, err = r.answer(time.Now())
	}
	s.breaker.Record(ctx, began, accounts.FairTime, err != nil)
	switch {
	case err != nil && !failed:
		s.config.Logger.Warn("a call-out fails", "source", s.config.Name, "url", s.config.URL, "error", err)
	case err == nil && failed:
		s.config.Logger.Info("a call-out works again", "source", s.config.Name, "url", s.config.URL)
	}
	return a, err
}

func (s *Source) post(ctx context.Context, q question) (r reply, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return r, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.URL, bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "simpd")
	request.Header["Idempotency-Key"] = nil // not sent; the request may be repeated if a kept connection was closed
	if s.config.Bearer != "" {
		request.Header.Set("Authorization", "Bearer "+s.config.Bearer)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	switch {
	case err != nil:
		return r, err
	case response.StatusCode != http.StatusOK:
		return r, fmt.Errorf("the answer is %s, not 200", response.Status)
	}
	if err := json.Unmarshal(content, &r); err != nil {
		return r, fmt.Errorf("the answer is not as documented: %w", err)
	}
	return r, nil
}

// maxTTL is the longest time to live, of a century.
const maxTTL = 100 * 365 * 24 * 3600

func (r reply) answer(now time.Time) (a accounts.Answer, err error) {
	if !(r.TTL >= 0 && r.TTL <= maxTTL) {
		return a, fmt.Errorf("the answer is not as documented: the ttl is %v", r.TTL)
	}
	switch r.Result {
	case "defer":
	case "deny":
		a.Verdict = accounts.Rejected
	case "allow":
		a.Verdict = accounts.Accepted
		if r.TTL > 0 {
			a.Expiry = &protocol.Expiry{At: now.Add(time.Duration(r.TTL * float64(time.Second))), Reason: "the login has expired"}
		}
	default:
		return a, fmt.Errorf("the answer is not as documented: the result is %q, not allow, deny or defer", r.Result)
	}
	return a, nil
}
