package server

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A page of others that comes here by DNS rebinding has the Host that its
// Origin says, and is not let in for that.
func TestWebSocketAgainstDNSRebinding(t *testing.T) {
	set := func(c *Config) {
		c.Hosts, c.Origins = []string{"n1.example.net"}, []string{"https://chat.example.org", "*.pages.example"}
	}
	playWeb(t, set, func(w *webStage) {
		for _, c := range []struct {
			host, origin string
			status       int
		}{
			{"evil.example", "", 421},
			{"evil.example", "http://evil.example", 421},
			{"evil.example:7468", "http://evil.example:7468", 421},
			{"evil.example", "https://chat.example.org.evil.example", 421},
			{"evil.example", "http://chat.example.org", 421}, // another scheme
			{"chat.example.org.evil.example", "", 421},
			{"example.com", "http://evil.example", 403},
			{"evil.example", "https://chat.example.org", 101}, // Origin decides
			{"evil.example", "https://a.pages.example", 101},
			{"chat.example.org:443", "", 101},
			{"a.pages.example", "", 101},
			{"example.com", "https://example.com", 101},
			{"N1.example.net:7468", "", 101},
			{"127.0.0.1:7468", "", 101},
			{"[::1]:7468", "", 101},
			{"localhost:7468", "", 101},
		} {
			request := strings.Replace(upgrade, "example.com", c.host, 1)
			if c.origin != "" {
				request += "Origin: " + c.origin + "\r\n"
			}
			conn := w.raw("192.0.2.1:1")
			if got, _ := answer(t, conn, request+"\r\n"); got != c.status {
				t.Errorf("Host %s, Origin %q: %d, want %d", c.host, c.origin, got, c.status)
			}
			_ = conn.Close()
		}
		for _, path := range []string{"/", "/simp", "/metrics"} {
			if got, _ := answer(t, w.raw("192.0.2.1:1"), "GET "+path+" HTTP/1.1\r\nHost: evil.example\r\n\r\n"); got != 421 {
				t.Errorf("GET %s: %d, want 421", path, got)
			}
		}
	})
}

// Under TLS browsers compare the certificate with the page's name themselves.
func TestWebSocketHostThatACertificateNames(t *testing.T) {
	hosts := newWebHosts(Config{Certificates: NewCertificates(certificate(t, "chat.example.net"))})
	r := httptest.NewRequest(http.MethodGet, "/simp", nil)
	r.Host = "chat.example.net:7443"
	if hosts.allow(r) {
		t.Error("in clear a certificate's name is allowed")
	}
	r.TLS = &tls.ConnectionState{}
	if !hosts.allow(r) {
		t.Error("under TLS the certificate's name is refused")
	}
	if r.Host = "evil.example"; hosts.allow(r) {
		t.Error("under TLS another name is allowed")
	}
}
