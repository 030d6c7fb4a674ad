package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"simpd/cluster/link/pki"

	"simpd/cmd/testkit/site"
)

// TestReload: SIGHUP shows clients the new certificate, and keeps what is open.
func TestReload(t *testing.T) {
	keys, dir := makeKeys(t, "n1"), t.TempDir()
	n := startSite(t, dir, keys, "n1")[0]
	n.addSecureUsers(keys, "bob")
	bob := n.listens(keys, "bob")
	before := n.shownSerial(keys)
	for _, file := range []string{"node-n1.crt", "node-n1.key"} {
		if err := os.Remove(filepath.Join(keys, file)); err != nil {
			t.Fatal(err)
		}
	}
	remakeKeys(t, keys, "n1")
	n.signal(syscall.SIGHUP)
	n.await(n.err, "read again")
	if after := n.shownSerial(keys); after == before {
		t.Error("the certificate is the one before")
	}
	if code, said := n.person(keys, "bob", "send", "bob@example.com", "still there?"); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	bob.await(bob.out, "still there?")
}

// TestReloadNames: SIGHUP says what was read again, what stayed as it was and
// why, and names each changed setting that wants a restart.
func TestReloadNames(t *testing.T) {
	r := startReloader(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.reload(map[string]string{"log_level": "debug", "drain_timeout": "5s", "http_listen": "127.0.0.1:1", "token_file": tokens, "limit": "messages=0.001:1"})
	r.says(`level=WARN .*setting=http_listen value=127.0.0.1:0 new_value=127.0.0.1:1`)
	r.says(`level=WARN .*setting=token_file value="" new_value=.*/tokens`) // it was started without
	r.says(`msg="read again" items="log level, drain timeout, limits, rules for other sites, account sources, clients' certificates, node's certificate, gossip keys"`)
	if said := r.err.String(); strings.Count(said, "level=WARN msg=\"changed setting") != 2 {
		t.Errorf("it names more than was changed: %s", said)
	}
	r.addSecureUsers(r.keys, "bob")
	for _, outcome := range []string{"is not listening", "(429)"} { // and then the new limit holds
		if _, said := r.person(r.keys, "bob", "send", "bob@example.com", "hello"); !strings.Contains(said, outcome) {
			t.Errorf("%s, want %s", said, outcome)
		}
	}
}

// TestReloadFromElsewhere: files may be moved; what can't be used is named, and
// the rest is read all the same.
func TestReloadFromElsewhere(t *testing.T) {
	r := startReloader(t)
	before := r.shownSerial(r.keys)
	other := makeKeys(t, "n1")
	stranger := filepath.Join(t.TempDir(), "keys")
	if _, err := pki.Make(pki.Order{Dir: stranger, Site: "example.net", Nodes: []pki.NodeOrder{{ID: "n1"}}}); err != nil {
		t.Fatal(err)
	}
	elsewhere := map[string]string{
		"tls_cert": filepath.Join(other, "node-n1.crt"), "tls_key": filepath.Join(other, "node-n1.key"),
		"cluster_ca":   filepath.Join(stranger, "ca.crt"),
		"cluster_cert": filepath.Join(stranger, "node-n1.crt"), "cluster_key": filepath.Join(stranger, "node-n1.key"),
	}
	r.reload(elsewhere)
	r.says(`level=ERROR msg="reload failed, keeping previous value" item="node's certificate" error=".* names .*example.net/node/n1, but this node runs as .*example.com/node/n1`)
	r.says(`msg="read again" items="log level, drain timeout, limits, rules for other sites, account sources, clients' certificates, gossip keys"`)
	if after := r.shownSerial(other); after == before {
		t.Error("clients are shown the certificate of before")
	}
}

// TestReloadOfNonsense: a configuration that is wrong changes nothing.
func TestReloadOfNonsense(t *testing.T) {
	r := startReloader(t)
	r.reload(map[string]string{"log_level": "debug", "drain_timeout": "soon"})
	r.says(`level=ERROR msg="reload failed: the configuration is wrong" error=".*soon`)
	if said := r.err.String(); strings.Contains(said, "read again") {
		t.Errorf("it was taken in part: %s", said)
	}
}

// reloader is a node whose configuration is a file that is changed.
type reloader struct {
	*testNode
	keys, file string
	settings   map[string]string
}

func startReloader(t *testing.T) *reloader {
	t.Helper()
	dir := t.TempDir()
	r := &reloader{keys: makeKeys(t, "n1"), file: filepath.Join(dir, "simpd.yaml"), settings: map[string]string{"gossip_listen": site.FreeAddress()}}
	for _, arg := range secureArgs(dir, r.keys, "n1", 1) {
		flag, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		r.settings[strings.ReplaceAll(flag, "-", "_")] = value
	}
	r.write(t)
	r.testNode = &testNode{process: start(t, "simpd", "serve", "--config", r.file), id: "n1", dir: filepath.Join(dir, "n1")}
	r.await(r.err, "msg=ready")
	return r
}

func (r *reloader) write(t *testing.T) {
	t.Helper()
	var text strings.Builder
	for key, value := range r.settings {
		text.WriteString(key + ": " + value + "\n")
	}
	if err := os.WriteFile(r.file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload changes settings and has them read; it returns once that is done.
func (r *reloader) reload(changed map[string]string) {
	r.t.Helper()
	for key, value := range changed {
		r.settings[key] = value
	}
	r.write(r.t)
	r.signal(syscall.SIGHUP)
	done := regexp.MustCompile(`msg="(read again|reload failed: )`)
	eventually(r.t, "it has read again", func() bool { return done.MatchString(r.err.String()) })
}

func (r *reloader) says(pattern string) {
	r.t.Helper()
	if said := r.err.String(); !regexp.MustCompile(pattern).MatchString(said) {
		r.t.Errorf("it does not say %s:\n%s", pattern, said)
	}
}
