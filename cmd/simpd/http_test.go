package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// There is nothing to debug by where others look, and no secret in
// anything that a node tells over HTTP: not of its environment, of its command
// line, of its files, or of what clients said.
func TestNothingSecretIsTold(t *testing.T) {
	const canary = "canary-5f3a"
	t.Setenv("SIMPD_CANARY", canary)
	t.Setenv("SIMP_PASSWORD", canary)
	dir := filepath.Join(t.TempDir(), canary)
	n := serveInsecure(t, dir)
	n.operate(canary+"@example.com,"+canary+"\n", "account", "import", "-")
	runTo(t, "", "simp", "--plaintext", "--server", n.address("simp-listen"), "--user", canary+"@example.com", "send", canary+"2@example.com", canary)
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/metrics": 200,
		"/": 404, "/debug/pprof/": 404, "/debug/pprof/cmdline": 404, "/debug/vars": 404, "/debug/requests": 404, "/metrics/../debug/vars": 404, "/..;/setup": 404,
	} {
		status, said := n.get(path)
		if status != want {
			t.Errorf("%s is answered %d, want %d", path, status, want)
		}
		if strings.Contains(said, canary) {
			t.Errorf("%s tells %.200q", path, said)
		}
	}
}

// A page of others that comes to an HTTP listener by DNS rebinding carries
// its own name in Host, and reads nothing.
func TestHTTPListenersAgainstDNSRebinding(t *testing.T) {
	n := serveInsecure(t, t.TempDir(), "--pprof-listen=127.0.0.1:0", "--ws-listen=127.0.0.1:0",
		"--http-host=Metrics.example.net", "--http-host=bücher.example", "--advertise=localhost", "--advertise-client=n1.example.net:7467")
	for _, at := range []struct {
		option, path string
		status       int // for who may ask
	}{
		{"http-listen", "/metrics", 200}, {"http-listen", "/readyz", 200}, {"http-listen", "/healthz", 200}, {"http-listen", "/", 404},
		{"pprof-listen", "/debug/pprof/", 200}, {"pprof-listen", "/", 404},
		{"ws-listen", "/simp", 426}, {"ws-listen", "/", 200}, {"ws-listen", "/simp.js", 200}, {"ws-listen", "/metrics", 404},
	} {
		address := n.address(at.option)
		for _, host := range []string{address, "localhost", "metrics.example.net:7480", "xn--bcher-kva.example", "n1.example.net", "[::1]:80"} {
			if status, _ := n.getAs(host, at.option, at.path); status != at.status {
				t.Errorf("%s of %s for Host %s: %d, want %d", at.path, at.option, host, status, at.status)
			}
		}
		for _, host := range []string{"evil.example", "evil.example:7480", "example.net", address + ".evil.example"} {
			if status, said := n.getAs(host, at.option, at.path); status != 421 || strings.Contains(said, "simp_") {
				t.Errorf("%s of %s for Host %s: %d %.100q", at.path, at.option, host, status, said)
			}
		}
	}
}

// Without the web chat there is only the WebSocket.
func TestWebChatCanBeDisabled(t *testing.T) {
	n := serveInsecure(t, t.TempDir(), "--ws-listen=127.0.0.1:0", "--web-chat=false")
	for path, want := range map[string]int{"/": 404, "/simp.js": 404, "/simp": 426} {
		if got, _ := n.getAs("localhost", "ws-listen", path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}
