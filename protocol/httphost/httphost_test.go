package httphost

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHandlerAnswersToItsOwnNamesOnly(t *testing.T) {
	names := New("N1.example.net", "metrics_1", "")
	handler := names.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for host, want := range map[string]int{
		"127.0.0.1": 204, "127.0.0.1:7480": 204, "10.42.0.7:7480": 204,
		"[::1]": 204, "[::1]:7480": 204, "[fe80::1%25eth0]:7480": 204, "::1": 204,
		"localhost": 204, "LocalHost:7480": 204, "localhost.": 204,
		"n1.example.net": 204, "n1.EXAMPLE.net:9": 204, "n1.example.net.:9": 204, "metrics_1:7480": 204,

		"evil.example": 421, "evil.example:7480": 421, "n1.example.net.evil.example": 421,
		"localhost.evil.example": 421, "127.0.0.1.evil.example:7480": 421, "127.0.0.1.nip.example": 421,
		"evillocalhost": 421, "example.net": 421, "x.n1.example.net": 421, "": 421, ":7480": 421, ".": 421, "[": 421,
		"127.0.0.1:80.evil.example": 421, "[::1].evil.example": 421, "[::1]:80.evil.example": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Host = host
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
	}
}

// HAProxy's health checks are of HTTP/1.0 without Host.
func TestHTTP10NeedsNoHost(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/readyz", nil)
	r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor = "", "HTTP/1.0", 1, 0
	if !(Names{}).Allow(r) {
		t.Error("refused without Host")
	}
	r.Host = "evil.example"
	if (Names{}).Allow(r) {
		t.Error("allowed with the Host of others")
	}
}
