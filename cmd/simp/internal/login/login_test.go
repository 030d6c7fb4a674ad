package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"simpd/protocol"
)

// idp is a provider with the device flow, whose user has signed in when the
// token is asked for.
type idp struct {
	*httptest.Server
	mu      sync.Mutex
	life    int    // of tokens, in seconds
	refresh string // that counts
	tokens  int
	denies  bool
}

func newIDP(t *testing.T) *idp {
	p := &idp{life: 3600}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"token_endpoint":"%s/token","device_authorization_endpoint":"%[1]s/device"}`, p.URL)
	})
	mux.HandleFunc("POST /device", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("client_id") != "simp" || r.FormValue("scope") != "openid email" {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, `{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://login.example/device","expires_in":600,"interval":1}`)
	})
	mux.HandleFunc("POST /token", p.serveToken)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) serveToken(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	isDevice := r.FormValue("grant_type") == "urn:ietf:params:oauth:grant-type:device_code" && r.FormValue("device_code") == "d"
	isRefresh := r.FormValue("grant_type") == "refresh_token" && r.FormValue("refresh_token") == p.refresh
	if p.denies || !isDevice && !isRefresh || r.FormValue("client_id") != "simp" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant"}`)
		return
	}
	p.tokens++
	p.refresh = fmt.Sprint("r", p.tokens) // it changes with each use
	fmt.Fprintf(w, `{"access_token":"t%d","token_type":"Bearer","expires_in":%d,"refresh_token":"%s"}`, p.tokens, p.life, p.refresh)
}

func (p *idp) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *idp) start(t *testing.T, file string) *Login {
	t.Helper()
	provider := protocol.TokenProvider{Configuration: p.URL + "/configuration", ClientID: "simp", Scope: "openid email"}
	shown := ""
	l, err := Start(t.Context(), provider, file, NewHTTPClient(), func(address, code string) { shown = address + " " + code })
	if err != nil || shown != "https://login.example/device WDJB-MJHT" {
		t.Fatalf("%v, shown %q", err, shown)
	}
	return l
}

func expect(t *testing.T, l *Login, want string) {
	t.Helper()
	token, expiry, err := l.Token(context.Background())
	if err != nil || token != want || time.Until(expiry) <= 0 {
		t.Errorf("got %q, %v, %v; want %q", token, expiry, err, want)
	}
}

func TestLogin(t *testing.T) {
	p := newIDP(t)
	file := File(t.TempDir(), protocol.CanonicalAddress("a/b@example.com"))
	l := p.start(t, file)
	expect(t, l, "t1")
	expect(t, l, "t1")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || filepath.Base(file) != "a%2Fb@example.com.json" {
		t.Fatalf("%s: %v, %v", file, info, err)
	}
	again, err := Open(file, NewHTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, again, "t1")

	// A token that ends is renewed, by one of the processes that use the file.
	l.kept.Expiry, again.kept.Expiry = time.Now(), time.Now()
	if err := again.renewLocked(context.Background()); err != nil {
		t.Fatal(err)
	}
	expect(t, again, "t2")
	expect(t, l, "t2")
	l.kept.Expiry, l.kept.Refresh = time.Now(), "r1" // an old one
	if err := l.renewLocked(context.Background()); err != nil {
		t.Errorf("another process was first: %v", err)
	}
	expect(t, l, "t2")

	if was, err := Remove(file); !was || err != nil {
		t.Errorf("removed: %t, %v", was, err)
	}
	if gone, err := Open(file, nil); gone != nil || err != nil {
		t.Errorf("after that: %v, %v", gone, err)
	}
}

func TestLoginThatHasEnded(t *testing.T) {
	p := newIDP(t)
	p.life = 10 // less than the margin
	l := p.start(t, File(t.TempDir(), protocol.CanonicalAddress("a@example.com")))
	p.set(func() { p.denies = true })
	if _, _, err := l.Token(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("got %v", err)
	}
	p.Close()
	if _, _, err := l.Token(t.Context()); err == nil || errors.Is(err, ErrEnded) {
		t.Errorf("without the provider: %v", err)
	}
}

func TestNothingIsSaidInClear(t *testing.T) {
	for _, bad := range []string{"http://login.example/x", "ftp://login.example", "x"} {
		_, err := Start(t.Context(), protocol.TokenProvider{Configuration: bad}, "", NewHTTPClient(), nil)
		if err == nil || !strings.Contains(err.Error(), "the provider's address") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A login that others can read is not used.
func TestFileOfOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(file, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(file, nil); err == nil {
		t.Errorf("got %+v", l)
	}
}
