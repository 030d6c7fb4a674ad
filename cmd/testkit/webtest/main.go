// Webtest has a real browser, Chromium without a window, log in over
// WebSocket and exchange messages with clients over TCP. Then it checks the web
// chat: the types of its modules, their tests under Node, and the pages in the
// browser. It exits 0 only if all that holds. It writes the pictures of README,
// in docs/images.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"simpd/cmd/internal/cli"
)

//go:embed page.html
var page string

func main() {
	bin := flag.String("bin", "bin", "the folder of simpd, simp and simpctl")
	flag.Parse()
	for _, step := range []func(string) error{func(string) error { return checkTools() }, run, runScripts} {
		if err := step(*bin); err != nil {
			fmt.Fprintln(cli.NewEscaper(os.Stderr), "web-test:", err)
			os.Exit(1)
		}
	}
	fmt.Println("a browser and a terminal have exchanged messages, and the web chat works")
}

// test is a node, a page that speaks to it, and what both are asked to do.
type test struct {
	bin, dir             string
	simp, ws, grpc, http string
	page                 net.Listener
	result               chan string
	sent                 chan struct{}
}

func run(bin string) error {
	browser, err := findBrowser()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "webtest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t := &test{bin: bin, dir: dir, result: make(chan string, 1), sent: make(chan struct{}, 1)}
	if err := t.takePorts(); err != nil {
		return err
	}
	server := &http.Server{Handler: t.routes(), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(t.page) }() // ends with Close
	defer func() { _ = server.Close() }()
	for _, start := range []func(context.Context) error{t.startNode, t.makeUsers, t.listenAsBob} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	chromium := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--remote-debugging-port=0", t.pageURL())
	if err := chromium.Start(); err != nil {
		return err
	}
	defer func() { cancel(); _ = chromium.Wait() }() // it was killed
	return t.converse(ctx)
}

func findBrowser() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("it needs a browser that is missing here: chromium")
}

// takePorts takes free ports of this machine.
func (t *test) takePorts() error {
	var listeners []net.Listener
	for _, address := range []*string{&t.simp, &t.ws, &t.grpc, &t.http} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*address = l.Addr().String()
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		if err := l.Close(); err != nil {
			return err
		}
	}
	var err error
	t.page, err = net.Listen("tcp", "127.0.0.1:0")
	return err
}

func (t *test) pageURL() string { return "http://" + t.page.Addr().String() }

// routes serve the page, and take what it reports.
func (t *test) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Replace(page, "WEBSOCKET", "ws://"+t.ws+"/simp", 1))
	})
	mux.HandleFunc("POST /sent", func(http.ResponseWriter, *http.Request) { t.sent <- struct{}{} })
	mux.HandleFunc("POST /result", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case t.result <- string(body):
		default:
		}
	})
	return mux
}

func (t *test) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(t.bin, program), args...)
	c.Env = append(os.Environ(), "SIMP_PASSWORD=secret")
	return c
}

func (t *test) startNode(ctx context.Context) error {
	node := t.command(ctx, "simpd", "serve", "--insecure", "--node-id=n1", "--bootstrap-expect=1", "--domain=example.com",
		"--data-dir="+filepath.Join(t.dir, "n1"), "--simp-listen="+t.simp, "--ws-listen="+t.ws, "--ws-origin="+t.pageURL(),
		"--grpc-listen="+t.grpc, "--cluster-listen=127.0.0.1:0", "--gossip-listen=127.0.0.1:0", "--http-listen="+t.http)
	if err := node.Start(); err != nil {
		return err
	}
	for {
		if r, err := http.Get("http://" + t.http + "/readyz"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("the node is not ready within a minute")
		}
	}
}

func (t *test) makeUsers(ctx context.Context) error {
	c := t.command(ctx, "simpctl", "--insecure", "--addr", t.grpc, "account", "import", "-")
	c.Stdin = strings.NewReader("alice@example.com,secret\nbob@example.com,secret\n")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("making users: %w: %s", err, out)
	}
	return nil
}

// listenAsBob has bob listen in a terminal.
func (t *test) listenAsBob(ctx context.Context) error {
	c := t.command(ctx, "simp", "--plaintext", "--server", t.simp, "--user", "bob@example.com", "listen")
	if err := c.Start(); err != nil {
		return err
	}
	query := func() string {
		out, _ := t.command(ctx, "simp", "--plaintext", "--server", t.simp, "--user", "bob@example.com", "query", "bob@example.com").Output()
		return string(out)
	}
	for !strings.Contains(query(), "available") {
		if ctx.Err() != nil {
			return errors.New("bob does not listen within a minute")
		}
	}
	return nil
}

// converse waits until the page has sent, answers from a terminal, and takes
// the page's report.
func (t *test) converse(ctx context.Context) error {
	select {
	case <-t.sent:
	case said := <-t.result:
		return fmt.Errorf("the page failed:\n%s", said)
	case <-ctx.Done():
		return errors.New("the page has sent nothing within a minute")
	}
	out, err := t.command(ctx, "simp", "--plaintext", "--server", t.simp, "--user", "bob@example.com", "send", "alice@example.com", "hello from a terminal").CombinedOutput()
	if err != nil {
		return fmt.Errorf("bob sends: %w: %s", err, out)
	}
	select {
	case said := <-t.result:
		fmt.Fprintln(cli.NewEscaper(os.Stdout), said)
		if !strings.HasPrefix(said, "ok\n") {
			return errors.New("the page failed")
		}
		return nil
	case <-ctx.Done():
		return errors.New("the page reports nothing within a minute")
	}
}
