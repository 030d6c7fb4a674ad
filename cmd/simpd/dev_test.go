package main

import (
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"simpd/cmd/testkit/site"
)

// freeDevPort finds a port above which there is room for the nodes of a dev site.
func freeDevPort(nodes int) int { return site.FreePorts(devStep*(nodes-1) + devHTTP + 1) }

// TestDevSaysWhatWorks: what simpd dev prints to type next does what it says.
func TestDevSaysWhatWorks(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		t.Run(strconv.Itoa(nodes), func(t *testing.T) {
			p := start(t, "simpd", "dev", "--nodes", strconv.Itoa(nodes), "--port", strconv.Itoa(freeDevPort(nodes)))
			p.await(p.out, "Press Ctrl-C")
			env := p.await(p.out, "export SIMP_PASSWORD=")
			_, password, _ := strings.Cut(strings.Fields(env)[1], "=")
			t.Setenv("SIMP_PASSWORD", password)
			checkPages(t, p.out.String(), nodes)
			listen := start(t, "sh", "-c", "exec "+suggested(p, "listen"))
			listen.await(listen.err, "is listening")
			watch := start(t, "sh", "-c", "exec "+suggested(p, "watch"))
			watch.await(watch.out, "available")
			succeed(t, "", "sh", "-c", suggested(p, "send"))
			listen.await(listen.out, "hello")
			chat := start(t, "sh", "-c", "echo hi | exec "+suggested(p, "chat")) // there is no terminal: line mode
			chat.await(chat.out, "-- ")
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

// checkPages opens each page whose address dev has printed on a line of its own.
func checkPages(t *testing.T, printed string, want int) {
	t.Helper()
	pages := regexp.MustCompile(`(?m)^  (http://\S+/)$`).FindAllStringSubmatch(printed, -1)
	if len(pages) != want {
		t.Errorf("%d pages are printed, want %d", len(pages), want)
	}
	for _, page := range pages {
		r, err := http.Get(page[1])
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("GET %s: %s", page[1], r.Status)
		}
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
	dir, port := t.TempDir(), freeDevPort(1)
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
		{"--nodes=0", "invalid --nodes 0: must be 1 to 9"},
		{"--nodes=10", "invalid --nodes 10: must be 1 to 9"},
		{"--port=65500", "the nodes' ports above it"},
		{"--log-level=loud", "is not one of debug"},
		{"--nodes=x", "invalid argument"},
	} {
		code, said := runTo(t, "", "simpd", "dev", tt.args)
		if code != exitUsage || !strings.Contains(said, tt.want) || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit code %d: %s", tt.args, code, said)
		}
	}
}
