package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// freeDevPort finds a port above which there is room for the nodes of a dev site.
func freeDevPort(t *testing.T, nodes int) int {
	t.Helper()
	for range 100 {
		_, text, _ := net.SplitHostPort(freePort())
		port, _ := strconv.Atoi(text)
		if port+devStep*nodes < 65000 && allFree(port, nodes) {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func allFree(port, nodes int) bool {
	for i := range nodes {
		for above := range devHTTP + 1 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+devStep*i+above))
			if err != nil {
				return false
			}
			_ = l.Close()
		}
	}
	return true
}

// TestDevSaysWhatWorks: what simpd dev prints to type next does what it says.
func TestDevSaysWhatWorks(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		t.Run(strconv.Itoa(nodes), func(t *testing.T) {
			p := start(t, "simpd", "dev", "--nodes", strconv.Itoa(nodes), "--port", strconv.Itoa(freeDevPort(t, nodes)))
			p.await(p.out, "Press Ctrl-C")
			env := p.await(p.out, "export SIMP_PASSWORD=")
			_, password, _ := strings.Cut(strings.Fields(env)[1], "=")
			t.Setenv("SIMP_PASSWORD", password)
			listen := start(t, "sh", "-c", "exec "+suggested(p, "listen"))
			listen.await(listen.err, "is listening")
			watch := start(t, "sh", "-c", "exec "+suggested(p, "watch"))
			watch.await(watch.out, "available")
			succeed(t, "", "sh", "-c", suggested(p, "send"))
			listen.await(listen.out, "hello")
			if said := succeed(t, "", "sh", "-c", suggested(p, "status")); !strings.Contains(said, "healthy") {
				t.Errorf("status: %s", said)
			}
			p.signal(syscall.SIGINT)
			if code := p.exit(); code != 0 {
				t.Errorf("Ctrl-C: exit code %d", code)
			}
		})
	}
}

// suggested is the command of that name among what dev printed.
func suggested(p *process, name string) string {
	for line := range strings.Lines(p.out.String()) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "simp") && (strings.Contains(line+" ", " "+name+" ")) && !strings.HasPrefix(line, "In ") {
			return line
		}
	}
	p.t.Fatalf("no command %s in:\n%s", name, p.out)
	return ""
}

// TestDevKeepsWithDataDir: a dev site with a folder has its history again.
func TestDevKeepsWithDataDir(t *testing.T) {
	dir, port := t.TempDir(), freeDevPort(t, 1)
	var history [2]string
	for i := range history {
		p := start(t, "simpd", "dev", "--nodes=1", "--data-dir", dir, "--port", strconv.Itoa(port), "--log-level=info")
		line := p.await(p.err, "msg=ready")
		_, history[i], _ = strings.Cut(line, "history=")
		p.await(p.out, "Press Ctrl-C")
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != 0 {
			t.Fatalf("SIGTERM: exit code %d", code)
		}
	}
	if history[0] != history[1] || history[0] == "" {
		t.Errorf("histories %q", history)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestDevRefusals(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--nodes=0", "--nodes 0: 1 to 9 are to be had"},
		{"--nodes=10", "--nodes 10: 1 to 9 are to be had"},
		{"--port=65500", "no room for the nodes' ports"},
		{"--log-level=loud", "is not one of debug"},
		{"--nodes=x", "invalid argument"},
	} {
		code, said := runTo(t, "", "simpd", "dev", tt.args)
		if code != exitUsage || !strings.Contains(said, tt.want) || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit code %d: %s", tt.args, code, said)
		}
	}
}
