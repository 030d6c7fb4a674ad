package main

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/cmd/testkit/world"
	"simpd/protocol/server"
)

// desk is a folder with every file that a configuration can name.
type desk struct {
	t    *testing.T
	dir  string
	yaml string
	all  map[string]string // by the key of the configuration
}

// secrets are the keys of those files of a desk that nobody else may read.
var secrets = []string{"tls_key", "cluster_key", "gossip_key_file", "token_file"}

func newDesk(t *testing.T) *desk {
	dir, keys := t.TempDir(), makeKeys(t, "n1")
	authority, err := world.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	root, err := authority.WriteRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := authority.IssueFiles(dir, "example.com")
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t, dir, filepath.Join(dir, "simpd.yaml"), map[string]string{
		"tls_cert": cert, "tls_key": key, "federation_ca": root,
		"token_file": write(t, "tokens", "desk sha256:"+strings.Repeat("0", 64)+" role=message:send\n", 0o600),
		"cluster_ca": filepath.Join(keys, "ca.crt"), "cluster_cert": filepath.Join(keys, "node-n1.crt"),
		"cluster_key": filepath.Join(keys, "node-n1.key"), "gossip_key_file": filepath.Join(keys, "gossip.key"),
	}}
}

// configure writes the configuration that names all files.
func (d *desk) configure() {
	d.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "node_id: n1\ndata_dir: %s\ndomain: [example.com]\nbootstrap_expect: 1\n", filepath.Join(d.dir, "data"))
	for _, l := range []string{"simp", "simps", "grpc", "cluster", "http"} {
		fmt.Fprintf(&b, "%s_listen: 127.0.0.1:0\n", l)
	}
	fmt.Fprintf(&b, "gossip_listen: %s\n", site.FreeAddress())
	for key, file := range d.all {
		fmt.Fprintf(&b, "%s: %s\n", key, file)
	}
	if err := os.WriteFile(d.yaml, []byte(b.String()), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// rewrite changes a file, and returns what undoes it.
func (d *desk) rewrite(file string, change func(string) string) (undo func()) {
	d.t.Helper()
	was, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(change(string(was))), 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(file, was, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
}

// refused checks that a start and check-config both refuse a file.
func (d *desk) refused(what, file string) {
	d.t.Helper()
	for command, want := range map[string]int{"check-config": exitFailure, "serve": exitConfig} {
		code, said := runTo(d.t, "", "simpd", command, "--config="+d.yaml)
		if code != want || !strings.Contains(said, file) {
			d.t.Errorf("%s, where %s is %s: exit code %d, want %d, and the file: %s", command, file, what, code, want, said)
		}
	}
}

// TestCheckConfigAndServeAgree: what a start refuses of any file, check-config
// does too.
func TestCheckConfigAndServeAgree(t *testing.T) {
	d := newDesk(t)
	d.configure()
	for key, file := range d.all {
		undo := d.rewrite(file, func(string) string { return "nothing of use\n" })
		d.refused("of another kind", file)
		undo()
		if slices.Contains(secrets, key) {
			if err := os.Chmod(file, 0o644); err != nil {
				t.Fatal(err)
			}
			d.refused("open to others", file)
			if err := os.Chmod(file, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
		d.refused("absent", file)
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
	}
}

// TestByteOrderMarks: some editors begin every file with one.
func TestByteOrderMarks(t *testing.T) {
	d := newDesk(t)
	d.configure()
	marked := func(s string) string { return "\uFEFF" + s }
	for _, file := range d.all {
		d.rewrite(file, marked)
	}
	d.rewrite(d.yaml, marked)
	if said := succeed(t, "", "simpd", "check-config", "--config="+d.yaml); !strings.HasSuffix(said, d.yaml+": nothing is wrong\n") {
		t.Errorf("check-config says %s", said)
	}
	n := &testNode{start(t, "simpd", "serve", "--config="+d.yaml), "n1", d.dir}
	n.await(n.err, "msg=ready")
}

// TestStartWaitsForAClock: a certificate that is not valid yet may be one that
// the clock is wrong about, so the node waits, and starts once one is valid.
func TestStartWaitsForAClock(t *testing.T) {
	d := newDesk(t)
	authority, err := world.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	early, key, err := authority.WriteFiles(t.TempDir(), world.Order{Names: []string{"example.com"}, Early: true})
	if err != nil {
		t.Fatal(err)
	}
	valid, validKey := d.all["tls_cert"], d.all["tls_key"]
	d.all["tls_cert"], d.all["tls_key"] = early, key
	d.configure()
	if said := succeed(t, "", "simpd", "check-config", "--config="+d.yaml); !strings.Contains(said, "warning: "+early+" is not valid before ") {
		t.Errorf("check-config says %s", said)
	}
	serve := func() *testNode { return &testNode{start(t, "simpd", "serve", "--config="+d.yaml), "n1", d.dir} }
	serve().waitsToStart(early + " is not valid before ")

	n := serve()
	n.await(n.err, `msg="waiting to start"`)
	for from, to := range map[string]string{valid: early, validKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	n.await(n.err, "msg=ready")
	if status, body := n.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	n.signal(syscall.SIGTERM)
	if code := n.exit(); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
}

// TestExpiredOrNotYetValid: of the certificates between nodes one that has
// expired is a fault, and one that is not valid yet is waited for.
func TestExpiredOrNotYetValid(t *testing.T) {
	d := newDesk(t)
	c := &config{clusterCA: d.all["cluster_ca"], clusterCert: d.all["cluster_cert"], clusterKey: d.all["cluster_key"]}
	synctest.Test(t, func(t *testing.T) { // whose clock begins in the year 2000
		if _, wrong := c.readFiles(); len(wrong) != 1 || !isTemporary(wrong[0]) || !strings.Contains(wrong[0].Error(), "the clock of this machine says 2000-01-01T00:00:00Z") {
			t.Errorf("in 2000: %v", wrong)
		}
		time.Sleep(time.Until(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)))
		if _, wrong := c.readFiles(); len(wrong) != 1 || isTemporary(wrong[0]) {
			t.Errorf("in 2200: %v", wrong)
		}
	})
	if _, wrong := c.readFiles(); len(wrong) > 0 {
		t.Errorf("now: %v", wrong)
	}
}

func TestCertificateWarnings(t *testing.T) {
	authority, err := world.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := authority.IssueFiles(t.TempDir(), "other.example")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := server.LoadCertificates([]string{cert}, []string{key})
	if err != nil {
		t.Fatal(err)
	}
	end := shown.Leaves()[0].NotAfter
	const fine, soon = -30 * day, -30*day + time.Second
	for _, tt := range []struct {
		domains []string
		at      time.Time
		want    []string
	}{
		{[]string{"other.example"}, end.Add(fine), nil},
		{[]string{"other.example"}, end.Add(soon), []string{"certificate ends soon: site other.example, until "}},
		{[]string{"other.example"}, end, []string{"certificate has ended: site other.example, until "}},
		{[]string{"other.example", "example.com"}, end.Add(fine), []string{"no certificate names the domain example.com"}},
		{[]string{"example.com"}, end.Add(fine), []string{cert + " names none of the site's domains (example.com)", "no certificate names the domain example.com"}},
	} {
		files := &keyFiles{certificates: shown}
		said := files.certificateWarnings("n1", tt.domains, tt.at)
		if !slices.EqualFunc(said, tt.want, strings.HasPrefix) {
			t.Errorf("%v at %v: %q, want %q", tt.domains, tt.at, said, tt.want)
		}
	}
}

// TestACertificateForLater: one that is not valid yet may stand beside one that is.
func TestACertificateForLater(t *testing.T) {
	from := func(d time.Duration) server.Leaf {
		return server.Leaf{Certificate: &x509.Certificate{NotBefore: time.Now().Add(d)}}
	}
	now, later := from(-time.Hour), from(time.Hour)
	if err := checkClock([]server.Leaf{later, now}); err != nil {
		t.Errorf("beside a valid one: %v", err)
	}
	if err := checkClock([]server.Leaf{later}); !isTemporary(err) {
		t.Errorf("alone: %v", err)
	}
}
