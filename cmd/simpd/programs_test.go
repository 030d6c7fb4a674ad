package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"simpd/cmd/testkit/site"
)

// patience bounds every wait for something that has to happen.
const patience = 60 * time.Second

// TestMain makes the programs once, with the race detector if the tests have
// it, and puts them where tests and transcripts find them.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, helpers())
}

type suite struct{ *testing.M }

func (s suite) Run() int {
	dir, err := os.MkdirTemp("", "simpd-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = buildPrograms(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, kind := range []string{"CONFIG", "DATA", "CACHE"} { // not those of whoever runs the tests
		os.Setenv("XDG_"+kind+"_HOME", filepath.Join(dir, strings.ToLower(kind)))
	}
	os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return s.M.Run()
}

func buildPrograms(dir string) error {
	args := []string{"build", "-o", dir}
	if raceEnabled {
		args = append(args, "-race")
	}
	_, err := site.Output(exec.Command("go", append(args, "simpd/cmd/simpd", "simpd/cmd/simp", "simpd/cmd/simpctl")...), site.LongestBuild)
	return err
}

// process is a program that a test has started.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *lines
	err  *lines
	done chan struct{} // closed when it has ended
}

// start starts a program. At the test's end it is killed if it still lives,
// and what it said is shown if the test failed.
func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: program, cmd: exec.Command(program, args...), out: newLines(), err: newLines(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = p.out, p.err, time.Second
	in, err := p.cmd.StdinPipe()
	if err == nil {
		p.in, err = in, p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.end)
	return p
}

func (p *process) end() {
	_ = p.cmd.Process.Kill()
	<-p.done
	if p.t.Failed() {
		p.t.Logf("%s said:\n%s%s", p.name, p.out, p.err)
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end of the process, and returns its exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
	return p.cmd.ProcessState.ExitCode()
}

// lines are what a process has said, line by line, to wait for.
type lines struct {
	mu      sync.Mutex
	whole   []string
	rest    []byte
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	s := bufio.NewScanner(bytes.NewReader(l.rest[:bytes.LastIndexByte(l.rest, '\n')+1]))
	for s.Scan() {
		l.whole = append(l.whole, s.Text())
	}
	l.rest = l.rest[bytes.LastIndexByte(l.rest, '\n')+1:]
	close(l.changed)
	l.changed = make(chan struct{})
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(append(l.whole[:len(l.whole):len(l.whole)], string(l.rest)), "\n")
}

// find returns the first line from the given one on that has the text, and
// its number, or what changes when there are more.
func (l *lines) find(text string, from int) (line string, at int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := from; i < len(l.whole); i++ {
		if strings.Contains(l.whole[i], text) {
			return l.whole[i], i, nil
		}
	}
	return "", 0, l.changed
}

// await returns the first line of out or err that has the text, once there is one.
func (p *process) await(l *lines, text string) string {
	p.t.Helper()
	line, _ := p.awaitFrom(l, text, 0)
	return line
}

// awaitFrom is await from the line of that number on; it returns the number of
// the line behind the one found.
func (p *process) awaitFrom(l *lines, text string, from int) (string, int) {
	p.t.Helper()
	limit := time.After(patience)
	for {
		line, at, changed := l.find(text, from)
		if changed == nil {
			return line, at + 1
		}
		select {
		case <-changed:
		case <-p.done:
			if line, at, changed := l.find(text, from); changed == nil {
				return line, at + 1
			}
			p.t.Fatalf("%s has ended and never said %q", p.name, text)
		case <-limit:
			p.t.Fatalf("%s does not say %q", p.name, text)
		}
	}
}
