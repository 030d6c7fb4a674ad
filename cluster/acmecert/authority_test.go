package acmecert_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

const directory = "https://ca.example.net/dir"

// fakeAuthority plays a certificate authority that speaks ACME. It is asked
// without a network, and checks no signatures: a real one does, in the tests of
// cmd/testkit/acme.
type fakeAuthority struct {
	key  *ecdsa.PrivateKey
	root *x509.Certificate
	life time.Duration

	mu       sync.Mutex
	check    func(domain, kind, token string) error // whether the site controls the domain
	accounts map[string]bool                        // by key
	domains  []string                               // of the orders, in order
	valid    map[int]bool                           // orders whose domain was checked
	invalid  map[int]error
	issued   map[int][]byte
	refuse   func(w http.ResponseWriter) bool // answers an order itself
}

func newFakeAuthority(life time.Duration) *fakeAuthority {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	root, _ := x509.ParseCertificate(der)
	return &fakeAuthority{
		key: key, root: root, life: life, accounts: map[string]bool{}, valid: map[int]bool{}, invalid: map[int]error{}, issued: map[int][]byte{},
		check: func(string, string, string) error { return nil },
	}
}

// RoundTrip answers a request (http.RoundTripper).
func (a *fakeAuthority) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Replay-Nonce", rand.Text())
	a.answer(w, r)
	return w.Result(), nil
}

// signed is the body of a request (RFC 8555, section 6.2).
type signed struct {
	Protected, Payload string
	header             struct {
		JWK json.RawMessage `json:"jwk"`
	}
	payload []byte
}

func readSigned(r *http.Request) (s signed) {
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &s)
	header, _ := base64.RawURLEncoding.DecodeString(s.Protected)
	_ = json.Unmarshal(header, &s.header)
	s.payload, _ = base64.RawURLEncoding.DecodeString(s.Payload)
	return s
}

func (a *fakeAuthority) answer(w http.ResponseWriter, r *http.Request) {
	at := "https://" + r.URL.Host
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		reply(w, http.StatusOK, map[string]any{"newNonce": at + "/nonce", "newAccount": at + "/account", "newOrder": at + "/order"})
		return
	}
	s := readSigned(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	var n int
	what, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	fmt.Sscan(rest, &n)
	switch {
	case what == "account":
		key := string(s.header.JWK)
		w.Header().Set("Location", at+"/account/1")
		status := http.StatusCreated
		if a.accounts[key] {
			status = http.StatusOK
		}
		a.accounts[key] = true
		reply(w, status, map[string]any{"status": "valid"})
	case what == "order" && rest == "":
		a.newOrder(w, at, s.payload)
	case what == "order":
		a.replyOrder(w, at, n)
	case what == "authorization":
		a.replyAuthorization(w, at, n)
	case what == "challenge":
		a.runChallenge(n, strings.TrimPrefix(rest, fmt.Sprint(n, "/")))
		reply(w, http.StatusOK, map[string]any{"status": "processing", "url": r.URL.String(), "token": token(n)})
	case what == "finalize":
		a.replyOrder(w, at, n) // ready still: real authorities take a while
		a.issue(n, s.payload)
	case what == "certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(a.issued[n])
	}
}

func token(order int) string { return fmt.Sprintf("token-%d", order) }

func (a *fakeAuthority) newOrder(w http.ResponseWriter, at string, payload []byte) {
	if a.refuse != nil && a.refuse(w) {
		return
	}
	var order struct {
		Identifiers []struct{ Value string }
	}
	_ = json.Unmarshal(payload, &order)
	a.domains = append(a.domains, order.Identifiers[0].Value)
	n := len(a.domains) - 1
	w.Header().Set("Location", fmt.Sprint(at, "/order/", n))
	w.WriteHeader(http.StatusCreated)
	a.replyOrder(w, at, n)
}

func (a *fakeAuthority) replyOrder(w http.ResponseWriter, at string, n int) {
	status := "pending"
	switch {
	case a.issued[n] != nil:
		status = "valid"
	case a.valid[n]:
		status = "ready"
	}
	reply(w, http.StatusOK, map[string]any{
		"status": status, "authorizations": []string{fmt.Sprint(at, "/authorization/", n)},
		"finalize": fmt.Sprint(at, "/finalize/", n), "certificate": fmt.Sprint(at, "/certificate/", n),
	})
}

func (a *fakeAuthority) replyAuthorization(w http.ResponseWriter, at string, n int) {
	status, problem := "pending", any(nil)
	switch {
	case a.invalid[n] != nil:
		status, problem = "invalid", map[string]any{"type": "urn:ietf:params:acme:error:unauthorized", "detail": a.invalid[n].Error()}
	case a.valid[n]:
		status = "valid"
	}
	var challenges []any
	for _, kind := range []string{"http-01", "tls-alpn-01", "dns-01"} {
		challenges = append(challenges, map[string]any{
			"type": kind, "url": fmt.Sprint(at, "/challenge/", n, "/", kind), "token": token(n), "status": status, "error": problem,
		})
	}
	reply(w, http.StatusOK, map[string]any{
		"status": status, "identifier": map[string]any{"type": "dns", "value": a.domains[n]}, "challenges": challenges,
	})
}

func (a *fakeAuthority) runChallenge(n int, kind string) {
	if err := a.check(a.domains[n], kind, token(n)); err != nil {
		a.invalid[n] = err
		return
	}
	a.valid[n] = true
}

func (a *fakeAuthority) issue(n int, payload []byte) {
	var request struct{ CSR string }
	_ = json.Unmarshal(payload, &request)
	der, _ := base64.RawURLEncoding.DecodeString(request.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(100 + n)), DNSNames: csr.DNSNames, NotBefore: time.Now(), NotAfter: time.Now().Add(a.life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leaf, _ := x509.CreateCertificate(rand.Reader, template, a.root, csr.PublicKey, a.key)
	var chain bytes.Buffer
	for _, der := range [][]byte{leaf, a.root.Raw} {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	a.issued[n] = chain.Bytes()
}

func reply(w http.ResponseWriter, status int, body any) {
	b, _ := json.Marshal(body)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
