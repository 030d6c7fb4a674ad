package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"simpd/cmd/simp/internal/trust"
	"simpd/protocol"
	"simpd/protocol/client"
)

// console is what a person sees and types.
type console struct {
	terminal bool
	answers  []string // to what is asked
	env      map[string]string
	broken   bool // nothing can be written out
	dial     func(ctx context.Context, network, address string) (net.Conn, error)

	mu       sync.Mutex
	changed  *sync.Cond
	out, err bytes.Buffer
}

func newConsole(env map[string]string, answers ...string) *console {
	c := &console{env: env, answers: answers}
	c.changed = sync.NewCond(&c.mu)
	return c
}

func (c *console) isTerminal(any) bool { return c.terminal }

func (c *console) ask(context.Context, string) (string, error) {
	if len(c.answers) == 0 {
		return "", errNoTerminal
	}
	answer := c.answers[0]
	c.answers = c.answers[1:]
	return answer, nil
}

func (c *console) askLine(ctx context.Context, prompt string) (string, error) {
	return c.ask(ctx, prompt)
}

// consoleWriter writes to one of the console's buffers.
type consoleWriter struct {
	*console
	to *bytes.Buffer
}

func (s consoleWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken && s.to == &s.out {
		return 0, errors.New("no space left on device")
	}
	s.changed.Broadcast()
	return s.to.Write(b)
}

// await waits until the text is on the screen.
func (c *console) await(to *bytes.Buffer, text string) { c.awaitTimes(to, text, 1) }

// awaitTimes waits until a text was written so often.
func (c *console) awaitTimes(to *bytes.Buffer, text string, times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for strings.Count(to.String(), text) < times {
		c.changed.Wait()
	}
}

func (c *console) run(ctx context.Context, in io.Reader, args ...string) int {
	a := &app{
		in: in, out: consoleWriter{c, &c.out}, errOut: consoleWriter{c, &c.err}, term: c, zone: time.UTC,
		env: func(name string) string { return c.env[name] }, dial: c.dial,
	}
	return run(ctx, a, args)
}

// simp runs the program as alice, with the site's address and her password.
func simp(t *testing.T, s *site, in string, args ...string) (code int, out, errOut string) {
	t.Helper()
	c := newConsole(s.env())
	code = c.run(t.Context(), strings.NewReader(in), args...)
	return code, c.out.String(), c.err.String()
}

func (s *site) env() map[string]string {
	return map[string]string{"SIMP_SERVER": s.addr, "SIMP_USER": "alice@example.com", "SIMP_PLAINTEXT": "true", "SIMP_PASSWORD": "secret", "XDG_CACHE_HOME": s.data}
}

func TestSend(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		to   string
		code int
		out  string
	}{
		{"bob@example.com", 0, "delivered to bob@example.com\n"},
		{"deaf@example.com", 3, "not delivered: deaf@example.com is not listening (nothing was kept)\n"},
		{"silent@example.com", 4, "in doubt: silent@example.com may have it or not; no answer came\n"},
		{"nobody@example.com", 1, "not delivered: there is no user nobody@example.com\n"},
		{"rude@example.com", 1, "not delivered: the program of rude@example.com refused it: \\x9b31mno\n"},
		{"full@example.com", 1, "not delivered: the program of full@example.com takes nothing at present (nothing was kept)\n"},
		{"far@example.net", 1, "not delivered to far@example.net: unreachable (502)\n"},
		{"bob@example.com,deaf@example.com", 3, "delivered to bob@example.com\nnot delivered: deaf@example.com is not listening (nothing was kept)\n"},
		{"silent@example.com,deaf@example.com,bob@example.com", 4, ""},
		{"silent@example.com,deaf@example.com,rude@example.com", 1, ""},
		{`"a,b"@example.com`, 0, "delivered to \"a,b\"@example.com\n"},
	} {
		code, out, errOut := simp(t, s, "", "send", c.to, "hello")
		if code != c.code || c.out != "" && out != c.out || errOut != "" {
			t.Errorf("%s: exit code %d, %q, %q; want %d, %q", c.to, code, out, errOut, c.code, c.out)
		}
	}
}

func TestSendTakesTheTextFromAnywhere(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		in     string
		args   []string
		entity string
	}{
		{"", []string{"hello"}, "\r\nhello"},
		{"", []string{"hello", "there"}, "\r\nhello there"},
		{"one\ntwo\n", []string{"-"}, "\r\none\r\ntwo"},
		{"one\r\ntwo\r\n", nil, "\r\none\r\ntwo"},
		{"\n", nil, "\r\n"},
		{"", []string{"-h"}, "\r\n-h"},
		{"", []string{"--help"}, "\r\n--help"},
		{"", []string{"what", "is", "-h", "--output=json"}, "\r\nwhat is -h --output=json"},
		{"", []string{"--"}, "\r\n--"},
		{"", []string{"--output=json"}, "\r\n--output=json"},
	} {
		if code, out, errOut := simp(t, s, c.in, append([]string{"send", "bob@example.com"}, c.args...)...); code != 0 || s.last() != c.entity || !strings.HasPrefix(out, "delivered") {
			t.Errorf("%q: exit code %d, %s, sent %q; want %q", c.args, code, errOut, s.last(), c.entity)
		}
	}
	for _, entity := range []string{"Content-Type: image/png\r\n\r\nx\r\n", "\r\nx\n", "X: y\n\nlf\n\n", "\r\n \r"} {
		if code, _, errOut := simp(t, s, entity, "send", "--mime", "bob@example.com", "-"); code != 0 || s.last() != entity {
			t.Errorf("--mime: exit code %d, %s, sent %q; want %q", code, errOut, s.last(), entity)
		}
	}
	for _, args := range [][]string{{}, {"-"}, {""}} {
		if code, out, errOut := simp(t, s, "", append([]string{"send", "bob@example.com"}, args...)...); code != 2 || out != "" || !strings.Contains(errOut, "nothing was sent") {
			t.Errorf("an empty text, %q: exit code %d, %q, %q", args, code, out, errOut)
		}
	}
	if code, _, errOut := simp(t, s, "\xff", "send", "bob@example.com"); code != 1 || !strings.Contains(errOut, "UTF-8") {
		t.Errorf("exit code %d, %s", code, errOut)
	}
}

func TestSendInJSON(t *testing.T) {
	s := newSite(t)
	code, out, _ := simp(t, s, "", "send", "--output", "json", "--id", "x", "--timeout", "2s", "bob@example.com,deaf@example.com", "hello")
	want := `{"id":"x","status":207,"recipients":[{"to":"bob@example.com","status":200,"text":"delivered"},{"to":"deaf@example.com","status":480,"text":"not listening"}]}` + "\n"
	if code != 3 || out != want {
		t.Errorf("exit code %d, %s", code, out)
	}
}

// begin runs the program until it is interrupted, or ends by itself.
func begin(t *testing.T, c *console, args ...string) (wait func() int, interrupt func()) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- c.run(ctx, strings.NewReader(""), args...) }()
	return func() int { return <-done }, interrupt
}

func TestListen(t *testing.T) {
	s := newSite(t)
	c := newConsole(s.env())
	wait, interrupt := begin(t, c, "listen", "--state", "busy", "--note", "at work")
	s.await("LISTEN state=busy note=\"at work\"")
	for i, entity := range []string{
		"\r\nhello", "\r\n\x1b[31mred \u202etxt.exe\r\nsecond line\r\n12:00:00 bob@example.com: forged",
		"Content-Type: text/plain;\r\n charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe=\r\n!",
		"Content-Transfer-Encoding: BASE64\r\n\r\naGVsbG8=", "Content-Type: image/png\r\n\r\nxx", "\r\n\xff\xfe",
		"\r\n👩\u200d💻 می\u200cخواهم a\u200bb\u00ad\ufeff\u0085",
	} {
		if answer := s.deliver(fmt.Sprint("id", i), entity); answer != "200" {
			t.Errorf("%q: %s", entity, answer)
		}
	}
	interrupt()
	if code := wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := `10:00:00 bob@example.com (unsigned): hello
10:00:00 bob@example.com (unsigned): \x1b[31mred \u202etxt.exe
    second line
    12:00:00 bob@example.com: forged
10:00:00 bob@example.com (unsigned): Grüße!
10:00:00 bob@example.com (unsigned): hello
10:00:00 bob@example.com (unsigned): [image/png, 2 octets]
10:00:00 bob@example.com (unsigned): [text/plain, 4 octets]
` + "10:00:00 bob@example.com (unsigned): 👩\u200d💻 می\u200cخواهم " + `a\u200bb\xad\ufeff\x85
`
	want = strings.Replace(want, "[image/png, 2 octets]", "[image/png, 29 octets]", 1)
	if got := c.out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := c.err.String(); got != "alice@example.com is listening, and shown as busy; stop with Ctrl-C\n" {
		t.Errorf("%q", got)
	}
}

func TestListenInJSON(t *testing.T) {
	s := newSite(t)
	c := newConsole(s.env())
	wait, interrupt := begin(t, c, "--output", "json", "listen")
	s.await("LISTEN")
	s.deliver("x", "\r\nhi")
	s.deliver("y", "Content-Type: image/png\r\n\r\nx")
	s.deliver("z", "\r\n<&> \u202e\u009b\x1b\U000e0041")
	interrupt()
	wait()
	want := `{"from":"bob@example.com","to":"alice@example.com","id":"x","time":"2026-11-22T10:00:00.000Z","content_type":"text/plain","text":"hi","entity":"DQpoaQ==","signature":"unsigned"}
{"from":"bob@example.com","to":"alice@example.com","id":"y","time":"2026-11-22T10:00:00.000Z","content_type":"image/png","entity":"Q29udGVudC1UeXBlOiBpbWFnZS9wbmcNCg0KeA==","signature":"unsigned"}
{"from":"bob@example.com","to":"alice@example.com","id":"z","time":"2026-11-22T10:00:00.000Z","content_type":"text/plain","text":"\u003c\u0026\u003e \u202e\u009b\u001b\udb40\udc41","entity":"DQo8Jj4g4oCuwpsb86CBgQ==","signature":"unsigned"}
`
	if got := c.out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A message that can't be written out is not said to be delivered.
func TestListenThatCantWrite(t *testing.T) {
	s := newSite(t)
	c := newConsole(s.env())
	c.broken = true
	wait, _ := begin(t, c, "listen")
	s.await("LISTEN")
	if answer := s.deliver("x", "\r\nhi"); answer != "486 :it could not be shown" {
		t.Errorf("answered %q", answer)
	}
	if code := wait(); code != 1 || !strings.Contains(c.err.String(), "no space left") {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
}

func TestListenDisplaced(t *testing.T) {
	s := newSite(t)
	c := newConsole(s.env())
	wait, _ := begin(t, c, "listen", "--exclusive")
	s.await("LISTEN state=available mode=exclusive")
	s.say("* UNLISTENED :another one")
	if code := wait(); code != 1 || !strings.Contains(c.err.String(), "another session of yours is listening now") {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
}

func TestWatch(t *testing.T) {
	s := newSite(t)
	c := newConsole(s.env())
	wait, interrupt := begin(t, c, "watch", "bob@example.com", "deaf@example.com")
	c.await(&c.out, "deaf@example.com")
	s.say(`* PRESENCE ima=bob@example.com state=away note="\"x\" ` + "\u202e" + `" since=2026-11-22T10:00:01.000Z index=8`)
	c.await(&c.out, "away")
	interrupt()
	if code := wait(); code != 0 {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
	want := `bob@example.com  available  since 2026-11-22 10:00:00
deaf@example.com  deaf
bob@example.com  away  since 2026-11-22 10:00:01  "x" \u202e
`
	if got := c.out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestListsAndQueries(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		args      []string
		request   string
		code      int
		out, said string
	}{
		{[]string{"query", "bob@example.com,deaf@example.com"}, "QUERY ima=bob@example.com ima=deaf@example.com", 0,
			"bob@example.com   available  since 2026-11-22 10:00:00\ndeaf@example.com  deaf\n", ""},
		{[]string{"query", "--fresh", "--output", "json", "bob@example.com"}, "QUERY ima=bob@example.com fresh=yes", 0,
			`{"ima":"bob@example.com","state":"available","since":"2026-11-22T10:00:00.000Z","index":7}` + "\n", ""},
		{[]string{"watchers"}, "WATCHERS", 0, "carol@example.com\n", ""},
		{[]string{"contact"}, "CONTACT", 0, "bob@example.com    Bob B.\ncarol@example.com\ndave@example.com   Dave    group Sales\n", ""},
		{[]string{"contact", "list", "--output", "json"}, "CONTACT", 0, `{"ima":"bob@example.com","name":"Bob B."}` + "\n" + `{"ima":"carol@example.com","name":""}` + "\n" +
			`{"group":"Sales","ima":"dave@example.com","name":"Dave"}` + "\n", ""},
		{[]string{"contact", "add", "bob@example.com", "Bob", "B."}, `CONTACT ima=bob@example.com name="Bob B."`, 0, "", ""},
		{[]string{"contact", "add", "bob@example.com", "-h", "--yes"}, `CONTACT ima=bob@example.com name="-h --yes"`, 0, "", ""},
		{[]string{"contact", "remove", "bob@example.com"}, "CONTACT ima=bob@example.com remove=yes", 0, "", ""},
		{[]string{"contact", "dance"}, "", 2, "", "simp: unknown command \"dance\" of simp contact; the commands are add, list, remove\n"},
		{[]string{"acl"}, "ACL", 0, "@example.net  message deny  presence -\n", ""},
		{[]string{"acl", "list", "--output", "json"}, "ACL", 0, `{"message":"deny","presence":"","who":"@example.net"}` + "\n", ""},
		{[]string{"acl", "set", "*", "--presence", "deny", "--message", "allow"}, "ACL who=* message=allow presence=deny", 0, "", ""},
		{[]string{"acl", "remove", "*"}, "ACL who=*", 0, "", ""},
		{[]string{"acl", "set", "*"}, "", 2, "", "simp: give --message, --presence or both\n"},
		{[]string{"acl", "set", "x", "--message", "deny"}, "", 2, "", "simp: invalid pattern x: must be an address, @domain or *\n"},
		{[]string{"acl", "set", "*", "--message", "no"}, "", 2, "", "simp: --message and --presence must be allow or deny\n"},
	} {
		code, out, said := simp(t, s, "", c.args...)
		if code != c.code || out != c.out || said != c.said || c.request != "" && !s.heard(c.request) {
			t.Errorf("%q: exit code %d\n%s%s", c.args, code, out, said)
		}
	}
}

func TestPasswd(t *testing.T) {
	s := newSite(t)
	c := newConsole(s.env(), "secret", "new", "new")
	delete(c.env, "SIMP_PASSWORD")
	if code := c.run(t.Context(), strings.NewReader(""), "passwd"); code != 0 || !s.heard("PASSWD data=c2VjcmV0AG5ldw==") {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
	c = newConsole(s.env(), "new", "old")
	if code := c.run(t.Context(), strings.NewReader(""), "passwd"); code != 1 || !strings.Contains(c.err.String(), "differ") {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
	if code, _, said := simp(t, s, "newer\nmore\n", "passwd", "--new-password-file", "-"); code != 0 || !s.heard("PASSWD data=c2VjcmV0AG5ld2Vy") {
		t.Errorf("exit code %d, %s", code, said)
	}
}

func TestPasswordFile(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\r\nanything\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newConsole(s.env())
	c.env["SIMP_PASSWORD"] = "wrong"
	if code := c.run(t.Context(), strings.NewReader(""), "--password-file", file, "query", "bob@example.com"); code != 0 {
		t.Errorf("exit code %d, %s", code, c.err.String())
	}
}

// A command that can't be understood exits with 2, another failure with 1, and
// one line says why.
func TestRefusals(t *testing.T) {
	s := newSite(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		env  map[string]string
		code int
		said string
	}{
		{nil, nil, 2, "a command is missing; the commands are acl, app, chat, completion, contact,"},
		{[]string{"snd"}, nil, 2, `did you mean "send"?`},
		{[]string{"send"}, nil, 2, "simp send requires an address"},
		{[]string{"send", "--dance", "bob@example.com"}, nil, 2, "unknown flag: --dance; see simp send --help"},
		{[]string{"send", "bob", "hi"}, nil, 2, "invalid address bob"},
		{[]string{"send", "bob@example.com,", "hi"}, nil, 2, `invalid address ""`},
		{[]string{"send", "\x1b]0;x\a@example.com", "hi"}, nil, 2, "invalid address"},
		{[]string{"send", "--timeout", "0s", "bob@example.com", "hi"}, nil, 2, "--timeout"},
		{[]string{"send", "--timeout", "61s", "bob@example.com", "hi"}, nil, 2, "--timeout"},
		{[]string{"send", "--timeout", "5", "bob@example.com", "hi"}, nil, 2, `invalid --timeout "5": must be a duration with its unit`},
		{[]string{"send", "--id", "a b", "bob@example.com", "hi"}, nil, 2, "--id"},
		{[]string{"listen", "--state", "asleep"}, nil, 2, "invalid --state \"asleep\": must be available, busy or away"},
		{[]string{"listen", "--note", "a\nb"}, nil, 2, "invalid --note: must be at most 256 octets"},
		{[]string{"listen", "now"}, nil, 2, `unexpected argument "now"`},
		{[]string{"watch"}, nil, 2, "needs an address, or --contacts"},
		{[]string{"query", "bob@example.com", "--output", "xml"}, nil, 2, "invalid --output \"xml\": must be text or json"},
		{[]string{"query", "bob@example.com", "--plaintext", "--tls-ca", "x"}, nil, 2, "combined with"},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_SERVER": ""}, 2, "--plaintext requires --server"},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_PLAINTEXT": "perhaps"}, 2, `invalid SIMP_PLAINTEXT="perhaps": must be true or false`},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_USER": ""}, 2, "--user is missing"},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_USER": "alice"}, 2, "invalid address alice"},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_PASSWORD": ""}, 2, "no terminal to ask for the password"},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_PASSWORD": "wrong"}, 1, "wrong address or password (401); are --user and the password right?"},
		{[]string{"query", "bob@example.com", "--password-file", empty}, nil, 1, "contains no password"},
		{[]string{"query", "bob@example.com", "--password-file", empty + "x"}, nil, 1, "no such file"},
		{[]string{"query", "bob@example.com", "--plaintext=false"}, nil, 1, "nothing was sent in clear"},
		{[]string{"query", "bob@example.com", "--plaintext=false", "--tls-ca", empty}, nil, 1, "holds no certificate"},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_SERVER": "127.0.0.1:1"}, 1, "is it running, and is --server right?"},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_SERVER": "localhost"}, 2, `invalid --server "localhost": must be HOST:PORT`},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_SERVER": "127.0.0.1:99999"}, 2, `invalid --server "127.0.0.1:99999": must be HOST:PORT`},
		{[]string{"query", "bob@example.com"}, map[string]string{"SIMP_SERVER": "127.0.0.1:simp"}, 2, `invalid --server "127.0.0.1:simp": must be HOST:PORT`},
		{[]string{"query", "bob@example.com", "--dns", "192.0.2.53"}, nil, 2, `invalid --dns "192.0.2.53": must be HOST:PORT`},
	} {
		con := newConsole(s.env())
		for name, value := range c.env {
			con.env[name] = value
		}
		code := con.run(t.Context(), strings.NewReader(""), c.args...)
		said := con.err.String()
		if code != c.code || !strings.Contains(said, c.said) || strings.Count(said, "\n") != 1 || strings.Contains(said, "\x1b") || con.out.Len() > 0 {
			t.Errorf("%q %v: exit code %d, %q; want %d, %q", c.args, c.env, code, said, c.code, c.said)
		}
	}
}

func TestColoursOnlyOnATerminalThatWantsThem(t *testing.T) {
	for _, c := range []struct {
		terminal bool
		env      map[string]string
		want     bool
	}{{true, nil, true}, {false, nil, false}, {true, map[string]string{"NO_COLOR": "1"}, false}, {true, map[string]string{"TERM": "dumb"}, false}} {
		a := &app{term: &console{terminal: c.terminal}, env: func(name string) string { return c.env[name] }}
		if got := a.emphasize("x"); (got != "x") != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestHelpAndCompletion(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"send", "--help"}, {"completion", "bash"}, {"completion", "zsh"}, {"completion", "fish"}} {
		c := newConsole(nil)
		if code := c.run(t.Context(), strings.NewReader(""), args...); code != 0 || c.out.Len() == 0 || c.err.Len() > 0 {
			t.Errorf("%q: exit code %d, %q", args, code, c.err.String())
		}
	}
}

func TestTheDateIsShownWhenTheDayChanges(t *testing.T) {
	c := newConsole(nil)
	a := &app{out: consoleWriter{c, &c.out}, term: c, zone: time.UTC, day: "2026-11-21", env: func(string) string { return "" }}
	for _, at := range []string{"2026-11-21T23:59:59.000Z", "2026-11-22T00:00:01.000Z", "2026-11-22T00:00:02.000Z"} {
		when, err := time.Parse(protocol.TimeFormat, at)
		if err != nil {
			t.Fatal(err)
		}
		e := ears{app: a}
		if err := e.printMessage(&protocol.Message{From: protocol.CanonicalAddress("bob@example.com"), Time: when, Entity: []byte("\r\nhi")}, trust.Verdict{}); err != nil {
			t.Fatal(err)
		}
	}
	want := "23:59:59 bob@example.com (unsigned): hi\n2026-11-22 00:00:01 bob@example.com (unsigned): hi\n00:00:02 bob@example.com (unsigned): hi\n"
	if got := c.out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// An output that takes nothing does not change what the exit code tells.
func TestAClosedOutputChangesNoOutcome(t *testing.T) {
	s := newSite(t)
	for to, want := range map[string]int{"bob@example.com": 0, "deaf@example.com": 3, "silent@example.com": 4, "rude@example.com": 1} {
		c := newConsole(s.env())
		c.broken = true
		if code := c.run(t.Context(), strings.NewReader(""), "send", to, "hello"); code != want || !strings.Contains(c.err.String(), "no space left on device") {
			t.Errorf("%s: exit code %d, want %d; %q", to, code, want, c.err.String())
		}
	}
}

// With --dns the client looks addresses up and dials them one beside another
// (RFC 8305); a Dial that took names would try addresses of one family one after
// another.
func TestAResolverDoesNotDial(t *testing.T) {
	a := &app{dns: "192.0.2.53:53"}
	var config client.Config
	a.resolveBy(&config)
	if config.Dial != nil || config.Resolver == nil || !config.AllowPrivate {
		t.Errorf("%+v", config)
	}
}
