package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"simpd/cmd/testkit/site"
)

// TestExitStatuses: a service manager tells by the exit status whether a new
// start may help.
func TestExitStatuses(t *testing.T) {
	dir := t.TempDir()
	loose := filepath.Join(dir, "loose")
	if err := os.MkdirAll(loose, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(loose, "raft.db"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	if err := os.MkdirAll(damaged, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "raft.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	token := write(t, "tokens", "desk nonsense\n", 0o600)
	bad := write(t, "bad.yaml", "node_idd: n1\n", 0o600)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	serve := func(more ...string) []string {
		return append([]string{"serve", "--insecure", "--node-id=n1", "--domain=example.com", "--bootstrap-expect=1",
			"--gossip-listen=" + site.FreeAddress(), "--cluster-listen=127.0.0.1:0", "--simp-listen=127.0.0.1:0", "--grpc-listen=off"}, more...)
	}
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"no command":          {nil, exitUsage},
		"an unknown command":  {[]string{"serv"}, exitUsage},
		"an unknown flag":     {[]string{"serve", "--nod-id=n1"}, exitUsage},
		"an argument":         {[]string{"serve", "now"}, exitUsage},
		"an unreadable flag":  {serve("--data-dir="+filepath.Join(dir, "n3"), "--timing=sideways"), exitUsage},
		"dev, unknown flag":   {[]string{"dev", "--node=3"}, exitUsage},
		"no configuration":    {[]string{"serve", "--config=" + filepath.Join(dir, "none")}, exitConfig},
		"a wrong key":         {[]string{"serve", "--config=" + bad}, exitConfig},
		"what does not fit":   {serve("--data-dir="+filepath.Join(dir, "n4"), "--simp-listen=0.0.0.0:0"), exitConfig},
		"a missing setting":   {[]string{"serve", "--insecure", "--node-id=n1"}, exitConfig},
		"a token file":        {serve("--data-dir="+filepath.Join(dir, "n1"), "--token-file="+token), exitConfig},
		"an open data folder": {serve("--data-dir=" + loose), exitConfig},
		"damaged data":        {serve("--data-dir=" + damaged), exitConfig},
		"an address in use":   {serve("--data-dir="+filepath.Join(dir, "n2"), "--http-listen="+l.Addr().String()), exitFailure},
		"check-config":        {[]string{"check-config", "--config=" + bad}, exitFailure},
		"wipe without a yes":  {[]string{"wipe", "--data-dir=" + dir}, exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			var out, said strings.Builder
			if code := run(c.args, &out, &said); code != c.want {
				t.Errorf("exit status %d, want %d: %s", code, c.want, said.String())
			}
		})
	}
}
