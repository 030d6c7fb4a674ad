package acmecert

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
)

// answerKept is for how long an answer stays in the table if the node that put
// it there does not remove it.
const answerKept = time.Hour

// removeTimeout limits the removal of an answer that is not needed any more.
const removeTimeout = 10 * time.Second

// challengePath begins the path of each question that an authority asks by HTTP.
const challengePath = "/.well-known/acme-challenge/"

func httpAnswerName(token string) string { return "acme/http-01/" + token }
func tlsAnswerName(domain string) string { return "acme/tls-alpn-01/" + domain }

// answer shares the answer to a challenge with all nodes, since the authority
// may ask any of them, and several. It returns the answer's name.
func (m *Manager) answer(ctx context.Context, client *acme.Client, domain, token string) (name string, err error) {
	var value []byte
	if m.config.Challenge == HTTP01 {
		var text string
		if text, err = client.HTTP01ChallengeResponse(token); err != nil {
			return "", err
		}
		name, value = httpAnswerName(token), []byte(text)
	} else {
		if value, err = tlsAnswer(client, domain, token); err != nil {
			return "", err
		}
		name = tlsAnswerName(domain)
	}
	return name, m.config.Secrets.Put(ctx, name, value, time.Now().Add(answerKept))
}

// tlsAnswer returns the certificate that answers a challenge by TLS, as
// ChallengeCertificate reads it.
func tlsAnswer(client *acme.Client, domain, token string) ([]byte, error) {
	key, der, err := newKey()
	if err != nil {
		return nil, err
	}
	pair, err := client.TLSALPN01ChallengeCert(token, domain, acme.WithKey(key))
	if err != nil {
		return nil, err
	}
	return json.Marshal(certificateRecord{Chain: pair.Certificate, Key: der})
}

// dropAnswer removes an answer, also when ctx has ended. One that stays ends by
// itself.
func (m *Manager) dropAnswer(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := m.config.Secrets.Remove(ctx, name); err != nil {
		m.config.Logger.Warn("answer to a challenge not removed", "name", name, "error", err)
	}
}

// ChallengeCertificate returns the certificate that answers a challenge by TLS
// (RFC 8737), if hello is from an authority that asks and there is an answer;
// otherwise nil. Any goroutine may call it.
func (m *Manager) ChallengeCertificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != acme.ALPNProto {
		return nil
	}
	domain := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	value := m.config.Secrets.Get(tlsAnswerName(domain))
	var r certificateRecord
	if value == nil || json.Unmarshal(value, &r) != nil {
		return nil
	}
	pair, err := r.pair(domain)
	if err != nil {
		return nil
	}
	return &pair
}

// ServeHTTP answers challenges by HTTP, and nothing else: any other request is
// answered 404.
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.URL.Path, challengePath)
	if !ok || token == "" || len(token) > maxToken || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.NotFound(w, r)
		return
	}
	value := m.config.Secrets.Get(httpAnswerName(token))
	if value == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream") // RFC 8555, section 8.3
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(value) // an authority that has gone asks again
}

// maxToken is the longest token that is looked up, in octets.
const maxToken = 128
