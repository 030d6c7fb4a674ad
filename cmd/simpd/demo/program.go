package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// patience bounds every wait.
const patience = 20 * time.Second

// programs starts the real programs and ends what it has started.
type programs struct {
	bin     string // where they are
	env     []string
	running []*program
}

// program is one that runs in the background.
type program struct {
	*exec.Cmd
	name string
	out  output
	done chan struct{}
}

func (ps *programs) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(ps.bin, name), args...)
	cmd.Env = append(os.Environ(), ps.env...)
	return cmd
}

// start runs a program in the background.
func (ps *programs) start(name string, args ...string) (*program, error) {
	p := &program{Cmd: ps.command(name, args...), name: name, done: make(chan struct{})}
	p.out.changed = make(chan struct{})
	p.Stdout, p.Stderr = &p.out, &p.out
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.Wait()
	}()
	ps.running = append(ps.running, p)
	return p, nil
}

// run runs a program to its end, and returns its exit code and what it said.
func (ps *programs) run(stdin, name string, args ...string) (code int, said string, err error) {
	cmd := ps.command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		err = nil
	}
	if err != nil {
		return 0, "", err
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(string(out)), nil
}

// end kills whatever still runs.
func (ps *programs) end() {
	for _, p := range ps.running {
		p.kill()
	}
}

// kill is kill -9.
func (p *program) kill() {
	_ = p.Process.Kill()
	<-p.done
}

// await returns the first line, from the given one on, that has all the words,
// and the number of the line behind it.
func (p *program) await(from int, words ...string) (line string, next int, err error) {
	limit := time.After(patience)
	for {
		line, next, changed := p.out.find(from, words)
		if changed == nil {
			return line, next, nil
		}
		select {
		case <-changed:
		case <-p.done:
			return "", 0, fmt.Errorf("%s has ended and never said %q:\n%s", p.name, words, p.out.all())
		case <-limit:
			return "", 0, fmt.Errorf("%s does not say %q:\n%s", p.name, words, p.out.all())
		}
	}
}

// output is what a program has said.
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

func (o *output) all() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.said.String()
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
