package site

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Programs starts the real programs and ends what it has started, and nothing
// else.
type Programs struct {
	Bin string // where they are
	Env []string

	mu      sync.Mutex
	running []*Program
}

// Program is one that runs in the background.
type Program struct {
	*exec.Cmd
	name string
	out  output
	log  io.Closer // may be nil
	done chan struct{}
}

func (ps *Programs) command(within []string, name string, args ...string) *exec.Cmd {
	if !filepath.IsAbs(name) {
		name = filepath.Join(ps.Bin, name)
	}
	line := append(append(append([]string(nil), within...), name), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), ps.Env...)
	cmd.WaitDelay = letGo
	return cmd
}

// Start runs a program in the background.
func (ps *Programs) Start(name string, args ...string) (*Program, error) {
	return ps.start("", nil, name, args...)
}

// start also appends what the program says to the file log, unless that is empty.
func (ps *Programs) start(log string, within []string, name string, args ...string) (*Program, error) {
	p := &Program{Cmd: ps.command(within, name, args...), name: name, done: make(chan struct{})}
	p.out.changed = make(chan struct{})
	p.Stdout = &p.out
	if log != "" {
		f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		p.log, p.Stdout = f, io.MultiWriter(&p.out, f)
	}
	p.Stderr = p.Stdout
	if err := p.Cmd.Start(); err != nil {
		p.close()
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.Wait()
		p.close()
	}()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.running = append(ps.running, p)
	return p, nil
}

func (p *Program) close() {
	if p.log != nil {
		_ = p.log.Close()
	}
}

// Run runs a program to its end, for Longest at most, and returns its exit code
// and what it said.
func (ps *Programs) Run(stdin, name string, args ...string) (code int, said string, err error) {
	cmd := ps.command(nil, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	said, err = Output(cmd, Longest)
	if _, ended := errors.AsType[*exec.ExitError](err); ended && !errors.Is(err, ErrLate) {
		err = nil
	}
	if err != nil {
		return 0, "", err
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(said), nil
}

// End kills whatever still runs.
func (ps *Programs) End() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.running {
		p.Kill()
	}
	ps.running = nil
}

// Kill is kill -9. It returns once the process is gone.
func (p *Program) Kill() {
	_ = p.Process.Kill()
	<-p.done
}

// Signal sends the process a signal.
func (p *Program) Signal(s syscall.Signal) error { return p.Process.Signal(s) }

// Done is closed when the process has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Ended waits for the end of the process, and returns its exit code.
func (p *Program) Ended(patience time.Duration) (code int, err error) {
	select {
	case <-p.done:
		return p.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("%s does not end:\n%s", p.name, p.Said())
	}
}

// Said is all that it has said.
func (p *Program) Said() string {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return p.out.said.String()
}

// Await returns the first line, from the given one on, that has all the words,
// and the number of the line behind it.
func (p *Program) Await(from int, words ...string) (line string, next int, err error) {
	limit := time.After(Patience)
	for {
		line, next, changed := p.out.find(from, words)
		if changed == nil {
			return line, next, nil
		}
		select {
		case <-changed:
		case <-p.done:
			return "", 0, fmt.Errorf("%s has ended and never said %q:\n%s", p.name, words, p.Said())
		case <-limit:
			return "", 0, fmt.Errorf("%s does not say %q:\n%s", p.name, words, p.Said())
		}
	}
}

// output collects what a program has printed.
type output struct {
	mu      sync.Mutex
	said    bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.said.Write(b)
}

func (o *output) find(from int, words []string) (line string, next int, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	whole := strings.Split(o.said.String(), "\n")
	for i := from; i < len(whole)-1; i++ {
		if hasAll(whole[i], words) {
			return whole[i], i + 1, nil
		}
	}
	return "", 0, o.changed
}

func hasAll(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}
