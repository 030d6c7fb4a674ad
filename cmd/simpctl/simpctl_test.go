package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAccounts(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct{ in, args, want string }{
		{"secret\n", "account add Alice@example.com --password-stdin", "alice@example.com has an account\n"},
		{"new\r\nrest", "account passwd alice@example.com --password-stdin", "alice@example.com has a new password\n"},
		{"", "account disable alice@example.com", "alice@example.com is disabled\n"},
		{"", "account enable alice@example.com", "alice@example.com is enabled\n"},
	} {
		if got := s.ok(c.in, strings.Fields(c.args)...); got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	if !s.fits("alice@example.com", "new") {
		t.Error("the password does not fit")
	}
	if got := s.ok("", "account", "list"); !strings.Contains(got, "alice@example.com  enabled") {
		t.Errorf("the list is %q", got)
	}
	if got := s.ok("", "account", "delete", "alice@example.com", "--yes"); got != "alice@example.com is deleted\n" {
		t.Errorf("got %q", got)
	}
	if got := s.ok("", "account", "list", "--output", "json"); !strings.Contains(got, `"account": []`) {
		t.Errorf("the list is %q", got)
	}
}

func TestAPasswordIsAskedForTwice(t *testing.T) {
	s := newSite(t)
	args := []string{"--insecure", "--addr", s.addr, "account", "add", "bob@example.com"}
	if r := simpctlAt(t, &console{true, []string{"one", "two"}}, "", args...); r.code != 1 || !strings.Contains(r.err, "the two passwords differ; nothing was changed") {
		t.Errorf("got %+v", r)
	}
	if r := simpctlAt(t, &console{true, []string{"one", "one"}}, "", args...); r.code != 0 || !s.fits("bob@example.com", "one") {
		t.Errorf("got %+v", r)
	}
	if r := s.do("", "account", "add", "carol@example.com"); r.code != 2 || !strings.Contains(r.err, "--password-stdin") {
		t.Errorf("without a terminal: %+v", r)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	s := newSite(t)
	s.ok("x", "account", "add", "alice@example.com", "--password-stdin")
	for _, c := range []struct {
		code int
		args string
		want string
	}{
		{2, "", "simpctl: a command is missing; the commands are account, backup, block, completion, console, doctor, domain, invite, leader, man, node, report, restore, session, status, tls, token, upgrade, version"},
		{2, "stauts", `simpctl: unknown command "stauts" of simpctl; did you mean "status"?`},
		{2, "account fly", `simpctl: unknown command "fly" of simpctl account; the commands are add, app, delete, disable, enable, import, key, list, passwd`},
		{2, "account add", "simpctl: simpctl account add requires one address, such as alice@example.com"},
		{2, "account delete a@example.com b@example.com", `simpctl: simpctl account delete: unexpected argument "b@example.com"; it takes one address`},
		{2, "status --wach", "simpctl: unknown flag: --wach; see simpctl status --help"},
		{2, "status --output xml", `simpctl: invalid --output "xml": must be text or json`},
		{2, "status --addr nowhere", "simpctl: --addr nowhere is not HOST:PORT"},
		{2, "status --addr localhost:70000", "simpctl: --addr localhost:70000 is not HOST:PORT"},
		{2, "status --addr 192.0.2.1:7469", "simpctl: --insecure is for a node on this machine, and 192.0.2.1:7469 is not; use --tls-ca, --tls-cert and --tls-key"},
		{2, "account disable alice", "simpctl: invalid address alice"},
		{1, "account delete --yes nobody@example.com", "simpctl: there is no account nobody@example.com"},
		{1, "account disable a@elsewhere.example", "simpctl: ima: a@elsewhere.example is not of this site, which serves example.com"},
		{1, "node remove n9 --yes", "simpctl: the site has no node n9; it has n1, n2 and n3"},
		{1, "node admit n9", "simpctl: no node n9 was removed from the site"},
		{2, "node admit", "simpctl: simpctl node admit requires the id of a node that was removed"},
		{1, "session kick n1.2.99", "simpctl: no session n1.2.99 listens"},
		{1, "backup inspect /nowhere/at-all", "simpctl: open /nowhere/at-all: no such file or directory"},
	} {
		args := strings.Fields(c.args)
		if !slices.Contains(args, "--addr") {
			args = append(args, "--addr", s.addr)
		}
		r := simpctl(t, "", append(args, "--insecure")...)
		if r.code != c.code || !strings.HasPrefix(r.err, c.want) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: exit %d\n got %s want %s", c.args, r.code, r.err, c.want)
		}
	}
}

func TestANodeThatDoesNotAnswer(t *testing.T) {
	r := simpctl(t, "", "--insecure", "--addr", "127.0.0.1:1", "status")
	want := "simpctl: can't reach a node at 127.0.0.1:1: connection refused; is it running, and is --addr right?\n"
	if r.code != 1 || r.err != want {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
	r = simpctl(t, "", "status")
	if r.code != 2 || !strings.Contains(r.err, "--insecure") {
		t.Errorf("with no way to the site: exit %d, %q", r.code, r.err)
	}
}

func TestANodeThatSpeaksOtherwise(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	if r := simpctl(t, "", "tls", "init", "--dir", dir, "--site", "example.com"); r.code != 0 {
		t.Fatal(r.err)
	}
	r := simpctl(t, "", "--addr", s.addr, "status", "--tls-ca", dir+"/ca.crt", "--tls-cert", dir+"/service-operator.crt", "--tls-key", dir+"/service-operator.key")
	if r.code != 1 || !strings.Contains(r.err, "it does not use TLS; use --insecure") {
		t.Errorf("TLS to a node in clear: %+v", r)
	}
	for _, args := range []string{"--tls-ca " + dir + "/ca.crt", "--tls-ca " + dir + "/ca.crt --tls-cert " + dir + "/service-operator.crt"} {
		if r := simpctl(t, "", append(strings.Fields(args), "status")...); r.code != 2 {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := simpctl(t, "", "--tls-ca", dir+"/gossip.key", "status"); r.code != 1 || !strings.Contains(r.err, "holds no certificate in PEM") {
		t.Errorf("a CA that is none: %+v", r)
	}
}

func TestSessionsNodesAndTheLeader(t *testing.T) {
	s := newSite(t)
	s.ok("x", "account", "add", "alice@example.com", "--password-stdin")
	s.listen("alice@example.com", 7)
	id := fmt.Sprintf("n1.%d.7", s.epoch)
	list := s.ok("", "session", "list", "--user", "alice@example.com", "--node", "n1")
	for _, part := range []string{"alice@example.com  " + id, "192.0.2.1:5000", "simp/1", "available"} {
		if !strings.Contains(list, part) {
			t.Errorf("%q is not in\n%s", part, list)
		}
	}
	for args, want := range map[string]string{
		"session kick " + id:                "1 connection closed\n",
		"session kick alice@example.com":    "2 connections closed\n",
		"node drain n1":                     "n1 is drained; it may be stopped\n",
		"node drain n1 --undo":              "n1 takes clients again\n",
		"node remove n2 --yes":              "n2 is removed\n",
		"node admit n2":                     "n2 may join again, with an empty data directory and a new certificate\n",
		"leader transfer n3":                "n3 leads\n",
		"leader transfer":                   "n3 leads\n",
		"session list --node n2":            "IMA  SESSION  NODE  STATE  FOR  CLIENT  AGENT  NOTE\n",
		"session list --user b@example.com": "IMA  SESSION  NODE  STATE  FOR  CLIENT  AGENT  NOTE\n",
	} {
		if got := s.ok("", strings.Fields(args)...); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	for _, want := range []string{"kick alice@example.com " + id, "drain n1", "undrain n1", "remove n2", "admit n2", "transfer n3", "transfer "} {
		if !slices.Contains(s.asked, want) {
			t.Errorf("%q was not asked: %q", want, s.asked)
		}
	}
}

// What can't be undone is done only if a person or --yes says so.
func TestDestructionNeedsAYes(t *testing.T) {
	s, file := newSite(t), filepath.Join(t.TempDir(), "site.simp")
	s.ok("one", "account", "add", "alice@example.com", "--password-stdin")
	s.ok("", "backup", file)
	for _, args := range [][]string{{"restore", file}, {"node", "remove", "n3"}, {"account", "delete", "alice@example.com"}} {
		for _, in := range []string{"", "n\n", "no\n", "y\n"} {
			if r := s.do(in, args...); r.code != 2 || !strings.Contains(r.err, "--yes") || r.out != "" {
				t.Errorf("%q with %q on standard input: %+v", args, in, r)
			}
		}
		all := append([]string{"--insecure", "--addr", s.addr}, args...)
		for _, answer := range []string{"", "n\n", "nein\n"} {
			if r := simpctlAt(t, &console{terminal: true}, answer, all...); r.code != 1 || !strings.Contains(r.err, "nothing was changed") {
				t.Errorf("%q answered %q: %+v", args, answer, r)
			}
		}
	}
	if !s.fits("alice@example.com", "one") || slices.Contains(s.asked, "remove n3") {
		t.Error("something was changed")
	}
	if r := simpctlAt(t, &console{terminal: true}, "y\n", "--insecure", "--addr", s.addr, "account", "delete", "alice@example.com"); r.code != 0 {
		t.Errorf("after a yes: %+v", r)
	}
}

// A drain asks where the clients would have nowhere to go, and only there.
func TestADrainOfTheLastNodeNeedsAYes(t *testing.T) {
	s := newSite(t)
	s.ok("", "node", "drain", "n1")
	s.asked, s.alone = nil, true
	for _, in := range []string{"", "n\n", "y\n"} {
		if r := s.do(in, "node", "drain", "n1"); r.code != 2 || !strings.Contains(r.err, "no other node takes clients") || !strings.Contains(r.err, "--yes") {
			t.Errorf("with %q on standard input: %+v", in, r)
		}
	}
	if r := simpctlAt(t, &console{terminal: true}, "n\n", "--insecure", "--addr", s.addr, "node", "drain", "n1"); r.code != 1 || !strings.Contains(r.err, "nothing was changed") {
		t.Errorf("after a no: %+v", r)
	}
	if len(s.asked) > 0 {
		t.Errorf("the node was told %q", s.asked)
	}
	s.ok("", "node", "drain", "n2") // n1 takes its clients
	s.ok("", "node", "drain", "n1", "--yes")
	s.ok("", "node", "drain", "n1", "--undo")
	if r := simpctlAt(t, &console{terminal: true}, "y\n", "--insecure", "--addr", s.addr, "node", "drain", "n1"); r.code != 0 {
		t.Errorf("after a yes: %+v", r)
	}
}

// An output that takes nothing does not change what the exit code tells.
func TestAClosedOutputChangesNoOutcome(t *testing.T) {
	s := newSite(t)
	full := writerFunc(func([]byte) (int, error) { return 0, errors.New("no space left on device") })
	for _, output := range []string{"text", "json"} {
		var said strings.Builder
		a := &app{in: strings.NewReader("x"), out: full, errOut: &said, env: func(string) string { return "" }, term: &console{}}
		code := run(t.Context(), a, []string{"--insecure", "--addr", s.addr, "--output", output, "account", "add", output + "@example.com", "--password-stdin"})
		if code != 0 || !strings.Contains(said.String(), "no space left on device") {
			t.Errorf("%s: exit %d, %q", output, code, said.String())
		}
	}
	a := &app{in: strings.NewReader(""), out: full, errOut: io.Discard, env: func(string) string { return "" }, term: &console{}}
	if code := run(t.Context(), a, []string{"--insecure", "--addr", s.addr, "account", "list"}); code != 1 {
		t.Errorf("a list that can't be written: exit %d", code)
	}
}

func TestTokensThatNoNodeWouldRead(t *testing.T) {
	for args, want := range map[string]string{
		"desk --role presence:read":                       "",
		"desk --role message:send --as @example.com":      "",
		"desk --role message:send --as alice@example.com": "",
		"desk --role presence:write":                      `unknown role "presence:write": must be one of presence:read,`,
		"desk --role message:send --as *":                 `invalid --as "*"`,
		"desk --role message:send --as alice":             `invalid --as "alice": must be an address or @domain`,
		"desk --role presence:read --lifetime 1h":         "",
		"desk --role presence:read --lifetime -1h":        "invalid --lifetime -1h0m0s: must be at least a second",
		"a#b --role presence:read":                        `invalid name "a#b"`,
		"desk --role message:send --as @example..com":     `invalid --as "@example..com"`,
	} {
		r := simpctl(t, "", append([]string{"token", "make"}, strings.Fields(args)...)...)
		if want == "" && r.code != 0 || want != "" && (r.code != 2 || !strings.Contains(r.err, want)) {
			t.Errorf("%s: %+v, want %q", args, r, want)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if r := simpctl(t, "", args...); r.code != 0 || !strings.HasPrefix(r.out, "simpctl ") || !strings.Contains(r.out, "protocol SIMP/1.") {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := simpctl(t, "", "version", "--output", "json"); r.code != 0 || !strings.Contains(r.out, `"protocol":"SIMP/1.`) {
		t.Errorf("in JSON: %+v", r)
	}
}

func TestTLSInitAndTokens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	args := []string{"tls", "init", "--dir", dir, "--site", "example.com", "--node", "n1=n1.example.com,192.0.2.1", "--service", "pager=message:send,as:@example.com"}
	r := simpctl(t, "", args...)
	for _, name := range []string{"ca.crt", "ca.key", "node-n1.crt", "service-operator.crt", "service-pager.key", "gossip.key"} {
		if r.code != 0 || !strings.Contains(r.out, name) {
			t.Fatalf("%s is not there: %+v", name, r)
		}
	}
	if r := simpctl(t, "", args...); r.code != 0 || !strings.Contains(r.out, "all files already exist") {
		t.Errorf("again: %+v", r)
	}
	if r := simpctl(t, "", "tls", "init", "--dir", dir, "--node", "n9"); r.code != 0 || r.out != "made "+filepath.Join(dir, "node-n9.key")+"\nmade "+filepath.Join(dir, "node-n9.crt")+"\n" {
		t.Errorf("one more node of the site that is there: %+v", r)
	}
	for _, want := range []string{"node-n3.crt", "all files already exist"} {
		if r := simpctl(t, "", "tls", "init", "--dir", dir+"2"); r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("with no flag: %+v, want %s", r, want)
		}
	}
	r = simpctl(t, "", "token", "make", "desk", "--role", "presence:read")
	if r.code != 0 || !strings.Contains(r.out, "desk sha256:") || !strings.Contains(r.out, " role=presence:read\n") {
		t.Errorf("token: %+v", r)
	}
}

func TestManualPagesAndCompletion(t *testing.T) {
	dir := t.TempDir()
	if r := simpctl(t, "", "man", dir); r.code != 0 {
		t.Fatal(r.err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "simpctl-node-drain.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{".TH SIMPCTL\\-NODE\\-DRAIN 1", ".SH OPTIONS\n", `\-\-undo`, "simpctl\\-node(1)"} {
		if !strings.Contains(string(page), part) {
			t.Errorf("%q is not in\n%s", part, page)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := simpctl(t, "", "completion", shell); r.code != 0 || !strings.Contains(r.out, "simpctl") {
			t.Errorf("%s: %+v", shell, r)
		}
	}
	s := newSite(t)
	if got := s.ok("", "__complete", "node", "drain", ""); !strings.HasPrefix(got, "n1\nn2\nn3\n") {
		t.Errorf("the nodes' ids are completed as %q", got)
	}
}
