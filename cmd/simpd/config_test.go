package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"simpd/cluster/link/pki"
)

// write makes a file of that content and mode, and returns its path.
func write(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func environment(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := pairs[name]
		return v, ok
	}
}

// loadWith loads a file, variables and a command line.
func loadWith(t *testing.T, file string, env map[string]string, args ...string) (*config, problems) {
	t.Helper()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	addFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return loadConfig(file, environment(env), flags)
}

func TestIdleWithinItsBounds(t *testing.T) {
	for _, value := range []string{"10s", "1h"} {
		if _, wrong := loadWith(t, "", nil, "--node-id=n1", "--domain=a.example", "--insecure", "--data-dir=here", "--bootstrap-expect=1", "--idle="+value); len(wrong) > 0 {
			t.Errorf("--idle=%s: %v", value, wrong)
		}
	}
}

func TestFlagOverVariableOverFile(t *testing.T) {
	file := write(t, "simpd.yaml", "node_id: file\ndomain: [a.example, b.example]\nbootstrap_expect: 1\ninsecure: true\n"+
		"data_dir: here\ndrain_timeout: 1m\ntiming: relaxed\nhttp_listen: off\n", 0o600)
	env := map[string]string{"SIMPD_NODE_ID": "variable", "SIMPD_DRAIN_TIMEOUT": "2m", "SIMPD_JOIN": "127.0.0.1:1, 127.0.0.1:2", "SIMPD_TIMING": ""}
	c, wrong := loadWith(t, file, env, "--node-id", "flag", "--domain=c.example", "--domain=d.example")
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if c.nodeID != "flag" || c.drainTimeout != 2*time.Minute || c.timing != "relaxed" {
		t.Errorf("node-id %q, drain-timeout %v, timing %q", c.nodeID, c.drainTimeout, c.timing)
	}
	if !slices.Equal(c.domains, []string{"c.example", "d.example"}) || !slices.Equal(c.join, []string{"127.0.0.1:1", "127.0.0.1:2"}) {
		t.Errorf("domain %q, join %q", c.domains, c.join)
	}
	if c.http != "" || c.simp != "127.0.0.1:7467" {
		t.Errorf("http-listen %q, simp-listen %q", c.http, c.simp)
	}
}

func TestValuesAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, args, want string }{
		{"long node id", "--node-id=" + strings.Repeat("n", 64), "longer than 63"},
		{"node id of control characters", "--node-id=a\x1bb", "a node's name has"},
		{"node id that ends in a dot", "--node-id=a.", "a node's name has"},
		{"no port", "--simp-listen=127.0.0.1", "must be HOST:PORT"},
		{"port too large", "--simp-listen=127.0.0.1:65536", "the port must be a number up to 65535"},
		{"join without a host", "--join=:7471", "is not a dialable host:port"},
		{"advertise with a port", "--advertise=a.example:1", "invalid host"},
		{"drain-timeout below zero", "--drain-timeout=-1s", "is too short"},
		{"idle below its least", "--idle=9s", "9s is too short: must be at least 10s"},
		{"idle above its most", "--idle=1h1s", "1h0m1s is too long: must be at most 1h0m0s"},
		{"idle of half a second", "--idle=90.5s", "not a number of whole seconds"},
		{"proxy-protocol", "--proxy-protocol=10.0.0.1", "invalid network"},
		{"exempt", "--exempt=office", "invalid network"},
		{"web-address", "--web-address=chat.example.com", "must look like https://chat.example.com"},
		{"web-address with a path", "--web-address=https://chat.example.com/chat", "must look like https://chat.example.com"},
		{"log-level", "--log-level=loud", "is not one of debug, info, warn, error"},
		{"simp-listen for all, unprotected", "--simp-listen=:7467", "--insecure is for loopback only"},
		{"one address twice", "--http-listen=127.0.0.1:7467", "is already the address of simp-listen"},
		{"pprof-listen for all", "--pprof-listen=:6060", "--insecure is for loopback only"},
		{"no clients", "--simp-listen=off", "no client could connect"},
		{"no cluster", "--cluster-listen=off", "must not be off"},
		{"simps without certificate", "--simps-listen=127.0.0.1:0", "TLS requires a certificate"},
		{"half a pair", "--tls-cert=a", "each certificate needs its key"},
		{"keys and insecure", "--cluster-ca=a", "must not be set together with --insecure"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := []string{"--insecure", "--node-id=n1", "--data-dir=" + t.TempDir(), "--domain=example.com", "--bootstrap-expect=1"}
			_, wrong := loadWith(t, "", nil, append(base, tt.args)...)
			if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), tt.want) {
				t.Errorf("refused with %v, want %q alone", wrong, tt.want)
			}
		})
	}
}

func TestAnyAddressWantsAdvertise(t *testing.T) {
	keys := t.TempDir()
	if _, err := pki.Make(pki.Order{Dir: keys, Site: "example.com", Nodes: []pki.NodeOrder{{ID: "n1"}, {ID: "n2"}}}); err != nil {
		t.Fatal(err)
	}
	secure := func(args ...string) problems {
		base := []string{
			"--node-id=n1", "--data-dir=" + t.TempDir(), "--domain=example.com", "--bootstrap-expect=1", "--cluster-ca=" + keys + "/ca.crt",
			"--cluster-cert=" + keys + "/node-n1.crt", "--cluster-key=" + keys + "/node-n1.key", "--gossip-key-file=" + keys + "/gossip.key",
		}
		_, wrong := loadWith(t, "", nil, append(base, args...)...)
		return wrong
	}
	if wrong := secure(); len(wrong) > 0 {
		t.Error(wrong)
	}
	if wrong := secure("--cluster-listen=:7470", "--gossip-listen=[::]:7471", "--advertise=10.0.0.1"); len(wrong) > 0 {
		t.Error(wrong)
	}
	expect(t, secure("--cluster-listen=:7470"), "set advertise to the one that other nodes reach")
	expect(t, secure("--cluster-cert="+keys+"/node-n2.crt", "--cluster-key="+keys+"/node-n2.key"), "is for node n2, but node-id is n1")
	expect(t, secure("--cluster-key="+keys+"/node-n2.key"), "private key does not match")
	expect(t, secure("--simp-listen=0.0.0.0:7467"), "a certificate is required")
	expect(t, secure("--gossip-key-file="+write(t, "gossip.key", "c2hvcnQ=\n", 0o600)), "no key of 32 octets")
}

func expect(t *testing.T, wrong problems, want string) {
	t.Helper()
	if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), want) {
		t.Errorf("refused with %v, want %q alone", wrong, want)
	}
}
