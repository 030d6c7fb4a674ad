package main

import (
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"simpd/cmd/testkit/site"
)

// TestAShortageIsNoMisconfiguration: where the machine has no descriptors left
// for reading the configuration or a file that it names, systemd starts the node
// again.
func TestAShortageIsNoMisconfiguration(t *testing.T) {
	d := newDesk(t)
	d.configure()
	dir := t.TempDir()
	flags := []string{"serve", "--insecure", "--node-id=n1", "--domain=example.com", "--bootstrap-expect=1", "--data-dir=" + filepath.Join(dir, "n1"),
		"--gossip-listen=" + site.FreeAddress(), "--cluster-listen=127.0.0.1:0", "--simp-listen=127.0.0.1:0", "--grpc-listen=off"}
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"the configuration":  {[]string{"serve", "--config=" + d.yaml}, exitFailure},
		"a token file":       {append(flags, "--token-file="+d.all["token_file"]), exitFailure},
		"a certificate":      {append(flags, "--tls-cert="+d.all["tls_cert"], "--tls-key="+d.all["tls_key"]), exitFailure},
		"something is wrong": {append(flags, "--tls-cert="+d.all["tls_cert"], "--tls-key="+d.all["tls_key"], "--simp-listen=0.0.0.0:0", "--ws-listen=0.0.0.0:0"), exitConfig},
	} {
		t.Run(name, func(t *testing.T) {
			var out, said strings.Builder
			code := withoutDescriptors(t, func() int { return run(c.args, &out, &said) })
			if code != c.want || c.want == exitFailure && !strings.Contains(said.String(), "too many open files") {
				t.Errorf("exit status %d, want %d: %s", code, c.want, said.String())
			}
		})
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		err := misconfigured(fmt.Errorf("a certificate: %w", &fs.PathError{Op: "open", Path: "x", Err: errno}))
		if got := exitStatus(err); got != exitFailure {
			t.Errorf("%v: exit status %d", errno, got)
		}
	}
}

// withoutDescriptors calls f while nothing can be opened.
func withoutDescriptors(t *testing.T, f func() int) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the runtime has its own descriptors from now on
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var usual syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: usual.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &usual); err != nil {
			t.Fatal(err)
		}
	}()
	return f()
}
