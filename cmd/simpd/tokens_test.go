package main

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

// tokenProvider is an OpenID provider in this process.
type tokenProvider struct {
	*httptest.Server
	key     *rsa.PrivateKey
	fetches atomic.Int32 // of its keys
}

func startTokenProvider(t *testing.T) *tokenProvider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &tokenProvider{key: key}
	provider := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k1", Algorithm: oidc.RS256}}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			p.fetches.Add(1)
		}
		provider.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	provider.SetIssuer(p.URL)
	return p
}

// token makes a token of a user with a key of that name.
func (p *tokenProvider) token(t *testing.T, user, key string) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{
		"iss": p.URL, "aud": "simp", "sub": user, "email": user, "email_verified": true,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return oidctest.SignIDToken(p.key, key, oidc.RS256, string(claims))
}

// loginByToken logs a user in at a node, and returns the node's answer.
func (n *testNode) loginByToken(keys, user, token string) (answer string, err error) {
	conn, err := n.dialSecure(keys)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewScanner(conn)
	data := base64.StdEncoding.EncodeToString([]byte("n,a=" + user + ",\x01auth=Bearer " + token + "\x01\x01"))
	for i, request := range []string{"HELLO version=SIMP/1.1", "AUTH mech=OAUTHBEARER data=" + data} {
		tag := fmt.Sprint(i, " ")
		if _, err := io.WriteString(conn, tag+request+"\r\n"); err != nil {
			return "", err
		}
		for answer = ""; answer == "" && lines.Scan(); {
			answer, _ = strings.CutPrefix(lines.Text(), tag)
			if answer == lines.Text() {
				answer = "" // a notification
			}
		}
	}
	if answer != "" {
		return answer, nil
	}
	return "", fmt.Errorf("no answer: %w", lines.Err())
}

// A thousand logins with tokens in a burst over three nodes have the site fetch
// the provider's keys once, and nobody is refused. Keys that somebody makes up
// do not add to it for ten seconds.
func TestBurstOfTokensOnThreeNodes(t *testing.T) {
	const logins, users, workers = 1000, 100, 60
	p := startTokenProvider(t)
	t.Setenv("SIMPD_ACCOUNTS_FILE", writeFile(t, "accounts.yaml",
		"sources: {login: {type: oidc, issuer: "+p.URL+", audience: simp}}\ndomains: {example.com: [login, table]}\n"))
	keys := makeKeys(t, "n1", "n2", "n3")
	nodes := startSite(t, t.TempDir(), keys, "n1", "n2", "n3")
	var tokens [users]string
	for i := range tokens {
		tokens[i] = p.token(t, fmt.Sprintf("u%d@example.com", i), "k1")
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)); i <= logins; i = int(next.Add(1)) {
				user := fmt.Sprintf("u%d@example.com", i%users)
				if answer, err := nodes[i%len(nodes)].loginByToken(keys, user, tokens[i%users]); err != nil || !strings.HasPrefix(answer, "200 ima="+user) {
					t.Errorf("%s at %s: %s, %v", user, nodes[i%len(nodes)].id, answer, err)
				}
			}
		})
	}
	all.Wait()
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	began := time.Now()
	for _, n := range nodes {
		if answer, err := n.loginByToken(keys, "u1@example.com", p.token(t, "u1@example.com", "made-up")); err != nil || strings.HasPrefix(answer, "200") {
			t.Errorf("a token of an unknown key at %s: %s, %v", n.id, answer, err)
		}
	}
	if n := p.fetches.Load(); n > 2+int32(time.Since(began)/(10*time.Second)) {
		t.Errorf("after unknown keys, the keys were fetched %d times", n)
	}
}
