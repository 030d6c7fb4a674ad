package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// waitsToStart checks that a node lives, says what it waits for, and ends at
// once when it is told to.
func (n *testNode) waitsToStart(why string) {
	n.t.Helper()
	n.await(n.err, `msg="waiting to start"`)
	if status, body := n.get("/healthz"); status != http.StatusOK {
		n.t.Errorf("/healthz: %d %s", status, body)
	}
	if status, body := n.get("/readyz"); status != http.StatusServiceUnavailable || !strings.HasPrefix(body, "waiting to start: "+why) {
		n.t.Errorf("/readyz: %d %s, not because of %s", status, body, why)
	}
	if status, body := n.get("/metrics"); status != http.StatusOK || !strings.Contains(body, "\nsimp_ready 0\n") {
		n.t.Errorf("/metrics: %d %s", status, body)
	}
	n.signal(syscall.SIGTERM)
	if code := n.exit(); code != 0 {
		n.t.Errorf("SIGTERM: exit code %d", code)
	}
}

// TestStartWaitsForItsName: the name of a node may come into DNS only after it
// has been started.
func TestStartWaitsForItsName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := &testNode{start(t, "simpd", append([]string{"serve", "--advertise=n1.example.invalid"}, insecureArgs(dir)...)...), "n1", dir}
	n.waitsToStart("--advertise n1.example.invalid: ")
}

// TestStartWaitsForItsAddress: an address may come to the machine only after
// the node has been started (192.0.2.0/24 is for documentation).
func TestStartWaitsForItsAddress(t *testing.T) {
	keys, dir := makeKeys(t, "n1"), t.TempDir()
	args := append(append([]string{"serve"}, secureArgs(dir, keys, "n1", 1)...), "--gossip-listen=127.0.0.1:0", "--grpc-listen=192.0.2.7:7469")
	n := &testNode{start(t, "simpd", args...), "n1", dir}
	n.waitsToStart("--grpc-listen 192.0.2.7:7469: ")
}

// TestStartWaitsForItsConfiguration: a file that can't be read to its end now
// keeps nobody from ending the start.
func TestStartWaitsForItsConfiguration(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "simpd.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, "simpd", "serve", "--config="+pipe)
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns once the node reads
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	n.signal(syscall.SIGTERM)
	if code := n.exit(); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
}

// startingNode is a node that only waits; what it logs is in the buffer.
func startingNode(ctx context.Context) (n *node, log *bytes.Buffer, waits *[]string) {
	log, waits = new(bytes.Buffer), new([]string)
	n = &node{ctx: ctx, logger: newLogger(log, "text", slog.LevelInfo)}
	n.starting.waiting = func(why string) { *waits = append(*waits, why) }
	n.starting.begin()
	return n, log, waits
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, log, waits := startingNode(t.Context())
		began := time.Now()
		err := n.retryUntil(func(context.Context) error {
			if time.Since(began) < 5*time.Minute+time.Second {
				return &net.DNSError{Err: "no such host", Name: "n1.example.com", IsNotFound: true}
			}
			return nil
		})
		if d := time.Since(began); err != nil || d > 5*time.Minute+3*time.Second {
			t.Errorf("after %v: %v", d, err)
		}
		synctest.Wait() // all lines are written
		if said := strings.Count(log.String(), "msg=\"waiting to start\""); said != 1 || len(*waits) != 1 {
			t.Errorf("the begin of the wait is said %d times, and told %d times", said, len(*waits))
		}
		if said := strings.Count(log.String(), "msg=\"still waiting to start\""); said != 5 {
			t.Errorf("in five minutes a reminder came %d times", said)
		}
		if err := n.starting.Err(); err == nil || strings.Contains(err.Error(), "waiting") {
			t.Errorf("after the wait the node is not ready because of %v", err)
		}
	})
}

func TestAwaitReturnsWhatDoesNotPass(t *testing.T) {
	n, log, _ := startingNode(t.Context())
	if err := n.retryUntil(func(context.Context) error { return syscall.EADDRINUSE }); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("await returns %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("it says %s", log)
	}
}

// TestAwaitEndsALookup: a resolver that does not answer is not waited for
// after the end of the start.
func TestAwaitEndsALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n, _, _ := startingNode(ctx)
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		err := n.retryUntil(func(ctx context.Context) error {
			<-ctx.Done()
			return &net.DNSError{Err: "i/o timeout", IsTimeout: true}
		})
		if d := time.Since(began); !errors.Is(err, context.Canceled) || d != time.Second {
			t.Errorf("after %v: %v", d, err)
		}
	})
}

// TestSignalsWhileStarting: the first ends what start waits for, the second
// start itself; SIGHUP is remembered.
func TestSignalsWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 4)
		signals <- syscall.SIGHUP
		came, err := startUntil(signals, func(context.Context) error {
			for len(signals) > 0 {
				synctest.Wait()
			}
			return nil
		})
		if !came.hangup || came.stop || err != nil {
			t.Errorf("SIGHUP: %v, %v", came, err)
		}
		signals <- syscall.SIGTERM
		came, err = startUntil(signals, func(ctx context.Context) error { <-ctx.Done(); return nil })
		if !came.stop || err != nil {
			t.Errorf("a signal just before the start succeeds: %v, %v", came, err)
		}
		signals <- os.Interrupt
		if _, err := startUntil(signals, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }); !errors.Is(err, context.Canceled) {
			t.Errorf("one signal: %v", err)
		}
		signals <- syscall.SIGTERM
		signals <- syscall.SIGTERM
		hangs := make(chan struct{})
		defer close(hangs)
		if _, err := startUntil(signals, func(context.Context) error { <-hangs; return nil }); !errors.Is(err, errAtOnce) {
			t.Errorf("two signals: %v", err)
		}
	})
}
