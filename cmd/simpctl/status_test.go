package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestStatusOnOneScreen(t *testing.T) {
	s := newSite(t)
	s.ok("secret", "account", "add", "alice@example.com", "--password-stdin")
	s.listen("alice@example.com", 1)
	want := `example.com  example.com  history 8f3a  index 4  schema 1

   NODE  STATE  ROLE      SESSIONS  LAG  EPOCH  VERSION  UP     CLIENTS AT
●  n1    ready  follower  1         0    2      -        1h30m  127.0.0.1:7467
●  n2    ready  leader    0         0    0      0.1.0    1h30m  -
●  n3    ready  follower  0         0    0      0.1.0    1h30m  -

healthy: 3 of 3 voters, can lose 1  1 listener, 1 account
`
	if got := s.ok("", "status"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s.down = true
	got := s.ok("", "status")
	for _, part := range []string{"n3: does not answer", "n2: the account source corp: ldaps://a fails", "degraded: 1 of 3 nodes not ready; 2 of 3 voters, can lose 0"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in\n%s", part, got)
		}
	}
}

func TestStatusIsShownAgainUntilInterrupted(t *testing.T) {
	s := newSite(t)
	ctx, interrupt := context.WithCancel(t.Context())
	var out strings.Builder
	shown := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "can lose") {
			interrupt()
		}
		return out.Write(p)
	})
	a := &app{out: shown, errOut: shown, env: func(string) string { return "" }, term: &console{terminal: true}}
	if code := run(ctx, a, []string{"--insecure", "--addr", s.addr, "status", "--watch"}); code != 0 {
		t.Errorf("exit %d", code)
	}
	if !strings.HasPrefix(out.String(), "\x1b[H") || !strings.Contains(out.String(), "can lose 1") {
		t.Errorf("shown %q", out.String())
	}
	if r := simpctl(t, "", "status", "--watch"); r.code != 2 {
		t.Errorf("with no way to the site: %+v", r)
	}
}

// writerFunc is a writer of one function.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestStatusInJSON(t *testing.T) {
	s := newSite(t)
	var status struct {
		Leader string `json:"leader"`
		Health string `json:"health"`
		Node   []struct {
			ID    string `json:"id"`
			State string `json:"state"`
		} `json:"node"`
	}
	if err := json.Unmarshal([]byte(s.ok("", "status", "--output", "json")), &status); err != nil {
		t.Fatal(err)
	}
	if status.Leader != "n2" || status.Health != "HEALTH_HEALTHY" || len(status.Node) != 3 || status.Node[0].State != "NODE_STATE_READY" {
		t.Errorf("got %+v", status)
	}
}

func TestColoursOnlyOnATerminalThatWantsThem(t *testing.T) {
	s := newSite(t)
	args := []string{"--insecure", "--addr", s.addr, "status"}
	if out := simpctlAt(t, &console{terminal: true}, "", args...).out; !strings.Contains(out, "\x1b[32m") {
		t.Errorf("no colours on a terminal: %q", out)
	}
	t.Setenv("NO_COLOR", "1")
	var out strings.Builder
	a := &app{out: &out, errOut: &out, env: os.Getenv, term: &console{terminal: true}}
	if code := run(t.Context(), a, args); code != 0 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("exit %d, %q", code, out.String())
	}
}
