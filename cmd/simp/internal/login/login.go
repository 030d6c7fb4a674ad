// Package login gets OAuth tokens for a person's client: with the device flow
// (RFC 8628), in which the person signs in with a browser, and keeps them in a
// file that only its owner can read.
package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"simpd/protocol"
	"simpd/protocol/secretfile"
)

// ErrEnded means that the login can't be renewed: the person has to sign in
// again.
var ErrEnded = errors.New("the login has ended; use simp login again")

const (
	requestTimeout = 15 * time.Second // of a request to the provider
	maxResponse    = 1 << 20          // octets

	// Another token is got when a fourth of its life is left, or maxMargin, and
	// minMargin: so it is due when the client library asks for one.
	maxMargin = 5 * time.Minute
	minMargin = 10 * time.Second
)

// Login keeps the tokens of a login. Any goroutine may call Token.
type Login struct {
	file   string
	client *http.Client

	mu   sync.Mutex
	kept kept
}

// kept is the content of the file.
type kept struct {
	TokenURL string    `json:"token_url"`
	ClientID string    `json:"client_id"`
	Access   string    `json:"access_token"`
	Refresh  string    `json:"refresh_token,omitempty"`
	Obtained time.Time `json:"obtained"`
	Expiry   time.Time `json:"expiry,omitzero"`
}

// File returns where the login of a user is kept, below a folder for data.
func File(folder string, user protocol.Address) string {
	return filepath.Join(folder, "simp", "logins", url.PathEscape(user.String())+".json")
}

// Open returns the login that a file keeps; nil if there is none.
func Open(file string, client *http.Client) (*Login, error) {
	l := &Login{file: file, client: client}
	err := l.read()
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return l, err
}

// Remove removes the login that a file keeps, and reports whether there was one.
func Remove(file string) (bool, error) {
	err := os.Remove(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// NewHTTPClient returns the client for requests to the provider.
func NewHTTPClient() *http.Client { return &http.Client{Timeout: requestTimeout} }

// Start begins the device flow with a provider, calls show with what the person
// has to do, and waits until it is done. The login is kept in the file.
func Start(ctx context.Context, p protocol.TokenProvider, file string, client *http.Client, show func(address, code string)) (*Login, error) {
	config, err := discover(ctx, p, client)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
	device, err := config.DeviceAuth(ctx)
	if err != nil {
		return nil, fmt.Errorf("the provider does not begin the login: %w", err)
	}
	show(device.VerificationURI, device.UserCode)
	token, err := config.DeviceAccessToken(ctx, device)
	if err != nil {
		return nil, fmt.Errorf("the provider gives no token: %w", err)
	}
	l := &Login{file: file, client: client}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = kept{TokenURL: config.Endpoint.TokenURL, ClientID: p.ClientID}
	return l, l.keepLocked(token)
}

// discover reads how the provider describes itself.
func discover(ctx context.Context, p protocol.TokenProvider, client *http.Client) (*oauth2.Config, error) {
	if err := checkURL(p.Configuration); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Configuration, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var d struct {
		Token  string `json:"token_endpoint"`
		Device string `json:"device_authorization_endpoint"`
	}
	switch err := json.NewDecoder(io.LimitReader(resp.Body, maxResponse)).Decode(&d); {
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s", p.Configuration, resp.Status)
	case err != nil:
		return nil, fmt.Errorf("%s does not answer with JSON: %w", p.Configuration, err)
	case d.Device == "":
		return nil, errors.New("the provider has no device flow (RFC 8628)")
	}
	for _, address := range []string{d.Token, d.Device} {
		if err := checkURL(address); err != nil {
			return nil, err
		}
	}
	return &oauth2.Config{
		ClientID: p.ClientID, Scopes: strings.Fields(p.Scope),
		Endpoint: oauth2.Endpoint{TokenURL: d.Token, DeviceAuthURL: d.Device, AuthStyle: oauth2.AuthStyleInParams},
	}, nil
}

// checkURL refuses to speak in clear to another machine.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("the provider's address %q is not a URL", s)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	isLoopback := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	if u.Scheme != "https" && !(u.Scheme == "http" && isLoopback) {
		return fmt.Errorf("the provider's address %q is not an https address", s)
	}
	return nil
}

// Token returns a token that does not end in a moment, and when it ends. It
// gets another from the provider if the one that is kept does.
func (l *Login) Token(ctx context.Context) (token string, expiry time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isFreshLocked() {
		_ = l.readLocked() // another process may have renewed it
	}
	if !l.isFreshLocked() {
		if err := l.renewLocked(ctx); err != nil {
			return "", time.Time{}, err
		}
	}
	return l.kept.Access, l.kept.Expiry, nil
}

func (l *Login) isFreshLocked() bool {
	k := &l.kept
	margin := min(k.Expiry.Sub(k.Obtained)/4, maxMargin) + minMargin
	return k.Access != "" && (k.Expiry.IsZero() || time.Until(k.Expiry) > margin)
}

// renewLocked gets another token with the refresh token.
func (l *Login) renewLocked(ctx context.Context) error {
	if l.kept.Refresh == "" {
		return ErrEnded
	}
	config := oauth2.Config{ClientID: l.kept.ClientID, Endpoint: oauth2.Endpoint{TokenURL: l.kept.TokenURL, AuthStyle: oauth2.AuthStyleInParams}}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, l.client)
	token, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: l.kept.Refresh}).Token()
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil && refused.Response.StatusCode < 500 {
		before := l.kept.Refresh
		if l.readLocked() == nil && l.kept.Refresh != before && l.isFreshLocked() {
			return nil // another process was first
		}
		return fmt.Errorf("%w (%s)", ErrEnded, refused.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("the provider gives no other token: %w", err)
	}
	return l.keepLocked(token)
}

// keepLocked writes the file.
func (l *Login) keepLocked(t *oauth2.Token) error {
	l.kept.Access, l.kept.Obtained, l.kept.Expiry = t.AccessToken, time.Now(), t.Expiry
	if t.RefreshToken != "" {
		l.kept.Refresh = t.RefreshToken
	}
	content, err := json.Marshal(l.kept)
	if err != nil {
		return err
	}
	folder := filepath.Dir(l.file)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".login-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // unless it was renamed
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), l.file)
}

func (l *Login) read() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readLocked()
}

func (l *Login) readLocked() error {
	content, err := secretfile.Read(l.file)
	if err != nil {
		return err
	}
	var k kept
	if err := json.Unmarshal(content, &k); err != nil {
		return fmt.Errorf("%s: %w", l.file, err)
	}
	l.kept = k
	return nil
}
