package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestWebPagesBesideTheWebSocket: Config.Web answers GET and HEAD of the paths
// other than /simp, behind the same checks.
func TestWebPagesBesideTheWebSocket(t *testing.T) {
	set := func(c *Config) {
		c.Web = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "page %s", r.URL.Path) })
	}
	playWeb(t, set, func(w *webStage) {
		for _, c := range []struct {
			request, host, body string
			status              int
		}{
			{"GET /", "example.com", "page /", 200},
			{"GET /simp.js", "127.0.0.1:7468", "page /simp.js", 200},
			{"HEAD /", "localhost", "", 200},
			{"GET /", "evil.example", "", 421},
			{"POST /", "example.com", "", 405},
			{"GET /simp", "example.com", "", 426}, // no upgrade
		} {
			conn := w.raw("192.0.2.1:1")
			got, r := answer(t, conn, c.request+" HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n")
			if got != c.status {
				t.Errorf("%s at %s: %d, want %d", c.request, c.host, got, c.status)
			}
			if c.body != "" {
				if b, err := io.ReadAll(r.Body); err != nil || string(b) != c.body {
					t.Errorf("%s: %q, %v", c.request, b, err)
				}
				if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("%s: the connection stays open", c.request)
				}
			}
		}
		body := "GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\n\r\nx"
		if got, _ := answer(t, w.raw("192.0.2.1:1"), body); got != 400 {
			t.Errorf("a request with a body: %d", got)
		}
		if got, _ := answer(t, w.raw("192.0.2.1:1"), upgrade+"\r\n"); got != 101 {
			t.Errorf("a WebSocket: %d", got)
		}
	})
}

// TestWebPagesNameTheirClient: a proxy's malformed header is refused for pages
// as it is for WebSockets.
func TestWebPagesNameTheirClient(t *testing.T) {
	set := func(c *Config) {
		forwarding(c)
		c.Web = http.NotFoundHandler()
	}
	playWeb(t, set, func(w *webStage) {
		request := "GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: %s\r\n\r\n"
		for value, want := range map[string]int{"192.0.2.9": 404, "x": 400} {
			if got, _ := answer(t, w.raw("10.0.0.1:1"), strings.Replace(request, "%s", value, 1)); got != want {
				t.Errorf("X-Forwarded-For %s: %d, want %d", value, got, want)
			}
		}
	})
}
