package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// S33: there is nothing to debug by where others look, and no secret in
// anything that a node tells over HTTP: not of its environment, of its command
// line, of its files, or of what clients said.
func TestS33NothingSecretIsTold(t *testing.T) {
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
