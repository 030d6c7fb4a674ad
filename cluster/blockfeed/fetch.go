package blockfeed

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	fetchTimeout   = 30 * time.Second // of a list with its signature
	maxSignature   = 1 << 10          // octets
	maxHeaders     = 64 << 10
	signatureAfter = ".sig" // after the path of the list
)

// Fetcher fetches lists. The zero Fetcher is ready to use.
type Fetcher struct {
	Roots *x509.CertPool // authorities of servers that are not pinned; nil: the system's
	// Dial connects; nil: through the proxy of the environment, or by TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Fetched is a list as it was fetched and verified.
type Fetched struct {
	Unchanged bool // since the ETag that was asked with; there is no Text
	Text      []byte
	ETag      string
}

// Fetch returns the list of a source, which has been verified. With the ETag of a
// fetch before, an unchanged list is not sent again.
func (f *Fetcher) Fetch(ctx context.Context, from Source, etag string) (Fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	transport := f.transport(from.Pin)
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	list, err := get(ctx, client, from.URL, etag, MaxOctets)
	if err != nil || list.Unchanged {
		return list, err
	}
	if from.Key == nil {
		return list, nil
	}
	address, err := signatureURL(from.URL)
	if err != nil {
		return Fetched{}, err
	}
	signature, err := get(ctx, client, address, "", maxSignature)
	if err != nil {
		return Fetched{}, fmt.Errorf("the signature: %w", err)
	}
	octets, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(signature.Text)))
	if err != nil || !ed25519.Verify(from.Key, list.Text, octets) {
		return Fetched{}, errors.New("the signature is not the key's, or not of this list")
	}
	return list, nil
}

// signatureURL returns where the signature of the list at an address is.
func signatureURL(list string) (string, error) {
	u, err := url.Parse(list)
	if err != nil {
		return "", err
	}
	if u.RawPath != "" {
		u.RawPath += signatureAfter
	}
	u.Path += signatureAfter
	return u.String(), nil
}

// transport returns the transport for one fetch.
func (f *Fetcher) transport(pin []byte) *http.Transport {
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.Roots}
	if pin != nil {
		c.InsecureSkipVerify = true // the pinned key takes the place of authorities
		c.VerifyConnection = func(s tls.ConnectionState) error { return checkPin(s, pin) }
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{}).DialContext, TLSClientConfig: c, ForceAttemptHTTP2: true,
		DisableCompression:     true, // the signature is over the octets of the list
		MaxResponseHeaderBytes: maxHeaders, TLSHandshakeTimeout: fetchTimeout,
	}
	if f.Dial != nil {
		t.Proxy, t.DialContext = nil, f.Dial
	}
	return t
}

// errPin reports a server that does not have the pinned key.
type errPin struct{ shown []byte }

func (e errPin) Error() string {
	return "the server's key is not the pinned one; its pin is " + base64.StdEncoding.EncodeToString(e.shown)
}

func checkPin(s tls.ConnectionState, pin []byte) error {
	shown := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
	if !bytes.Equal(shown[:], pin) {
		return errPin{shown[:]}
	}
	return nil
}

// get fetches what is at an address, of at most some octets.
func get(ctx context.Context, client *http.Client, address, etag string, most int) (Fetched, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Fetched{}, err
	}
	r.Header.Set("User-Agent", "simpd")
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(r)
	if err != nil {
		return Fetched{}, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		return Fetched{Unchanged: true, ETag: etag}, nil
	case resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.StatusCode != http.StatusNotModified:
		return Fetched{}, fmt.Errorf("%s redirects to %q, which is not followed", address, resp.Header.Get("Location"))
	case resp.StatusCode != http.StatusOK:
		return Fetched{}, fmt.Errorf("%s answers %s", address, resp.Status)
	case resp.Header.Get("Content-Encoding") != "":
		return Fetched{}, fmt.Errorf("%s sends the content encoding %q, which was not asked for", address, resp.Header.Get("Content-Encoding"))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err != nil {
		return Fetched{}, err
	}
	if len(text) > most {
		return Fetched{}, fmt.Errorf("%s is longer than %d octets", address, most)
	}
	return Fetched{Text: text, ETag: resp.Header.Get("ETag")}, nil
}
