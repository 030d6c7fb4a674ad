package main

import (
	"bufio"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestServeUntilSIGTERM(t *testing.T) {
	n := serveInsecure(t, filepath.Join(t.TempDir(), "n1"))
	if status, body := n.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d %s", status, body)
	}
	if status, body := n.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, body := n.get("/metrics"); status != http.StatusOK || !strings.Contains(body, "\nsimp_ready 1\n") {
		t.Errorf("/metrics: %d %s", status, body)
	}
	if status, _ := n.get("/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("/debug/pprof/: %d", status)
	}
	n.signal(syscall.SIGTERM)
	if code := n.exit(); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
}

// TestNotReadyAlone: a node that waits for others lives, and says why it takes
// no clients.
func TestNotReadyAlone(t *testing.T) {
	n := &testNode{start(t, "simpd", append([]string{"serve"}, append(insecureArgs(filepath.Join(t.TempDir(), "n1")), "--bootstrap-expect=3")...)...), "n1", ""}
	simp := n.address("simp-listen")
	if status, _ := n.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
	eventually(t, "/readyz says what the node waits for", func() bool {
		status, body := n.get("/readyz")
		if status != http.StatusServiceUnavailable {
			t.Errorf("/readyz: %d %s", status, body)
		}
		return strings.Contains(body, "waiting to form a site")
	})
	conn := dial(t, simp)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if !strings.HasPrefix(line, "* BYE status=503 :") {
		t.Errorf("a client is greeted with %q, %v", line, err)
	}
	n.signal(syscall.SIGTERM)
	if code := n.exit(); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
}

func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	for _, option := range []string{"simp-listen", "grpc-listen", "cluster-listen", "gossip-listen", "http-listen"} {
		dir := filepath.Join(t.TempDir(), "n1")
		code, said := runTo(t, "", "simpd", append([]string{"serve", "--log-level=error"}, append(insecureArgs(dir), "--"+option+"="+taken)...)...)
		if want := "simpd: --" + option + " " + taken + ": another program listens there already\n"; code != 1 || said != want {
			t.Errorf("exit code %d: %q, want 1: %q", code, said, want)
		}
	}
}

// TestKillKeepsAccounts: what was acknowledged outlives kill -9.
func TestKillKeepsAccounts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := serveInsecure(t, dir)
	n.addUsers("alice", "bob")
	n.signal(syscall.SIGKILL)
	n.exit()
	n = serveInsecure(t, dir)
	if said := n.operate("", "account", "list"); !strings.Contains(said, "alice@example.com") || !strings.Contains(said, "bob@example.com") {
		t.Errorf("account list: %s", said)
	}
	code, said := runTo(t, "", "simp", "--plaintext", "--server", n.address("simp-listen"), "--user", "alice@example.com", "send", "bob@example.com", "hello")
	if code != 3 {
		t.Errorf("simp send: exit code %d, not 3 (not listening): %s", code, said)
	}
}

// TestDataOfAnother: a data directory is not used by another node, nor twice.
func TestDataOfAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := serveInsecure(t, dir)
	code, said := runTo(t, "", "simpd", append([]string{"serve", "--log-level=error"}, insecureArgs(dir)...)...)
	if code != 1 || !strings.Contains(said, "another process uses the data directory") || strings.Count(said, "\n") != 1 {
		t.Errorf("a second process: exit code %d: %s", code, said)
	}
	n.signal(syscall.SIGTERM)
	n.exit()
	code, said = runTo(t, "", "simpd", append([]string{"serve", "--log-level=error"}, append(insecureArgs(dir), "--node-id=n2")...)...)
	if code != 78 || !strings.Contains(said, "is that of node n1, not of n2") || strings.Count(said, "\n") != 1 {
		t.Errorf("another node: exit code %d: %s", code, said)
	}
}

// TestSecondSignal: who can't wait for the clients sends a second signal.
func TestSecondSignal(t *testing.T) {
	keys, dir := makeKeys(t, "n1", "n2", "n3"), t.TempDir()
	site := startSite(t, dir, keys, "n1", "n2", "n3")
	site[0].addSecureUsers(keys, "bob")
	bob := site[0].listens(keys, "bob")
	bob.signal(syscall.SIGSTOP) // it does not follow MOVE
	site[0].signal(syscall.SIGTERM)
	site[0].await(site[0].err, "msg=draining")
	begun := time.Now()
	site[0].signal(syscall.SIGTERM)
	if code := site[0].exit(); code != 1 || time.Since(begun) > 10*time.Second {
		t.Errorf("exit code %d after %v", code, time.Since(begun))
	}
}

// TestManyClientsOfThisMachine: no limit by source holds for loopback, where a
// load test or a proxy may be.
func TestManyClientsOfThisMachine(t *testing.T) {
	n := serveInsecure(t, filepath.Join(t.TempDir(), "n1"))
	for i := range 250 {
		conn := dial(t, n.address("simp-listen"))
		line, err := bufio.NewReader(conn).ReadString('\n')
		if !strings.HasPrefix(line, "* HELLO ") {
			t.Fatalf("client %d is greeted with %q, %v", i, line, err)
		}
	}
}
