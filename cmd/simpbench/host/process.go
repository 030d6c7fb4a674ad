//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command says what to start.
type Command struct {
	Name string // for people
	Path string
	Args []string
	Env  []string // added to this process's
	CPUs CPUs     // where it runs; none: anywhere
	Log  string   // the file for what it prints
}

// Process is a server that was started. Its methods may be called from any goroutine.
type Process struct {
	Command
	cmd   *exec.Cmd
	ended chan struct{} // closed once it has ended
	err   error         // why; set before ended is closed

	once sync.Once
}

// Start starts a process, which the kernel ends should this one die.
func Start(c Command) (*Process, error) {
	log, err := os.Create(c.Log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := onCPUs(c.CPUs, cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{Command: c, cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Ended is closed once the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// PID returns the kernel's number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process at once, as kill -9 does, and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// patience limits how long Stop waits for a process that was asked to end.
const patience = 3 * time.Second

// Stop asks the process to end, kills it if it does not, and waits for its end.
func (p *Process) Stop() {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(patience):
			p.Kill()
		}
	})
}

// Await calls ready until it returns nil, the process ends or ctx does. Its
// error has the last lines that the process printed.
func (p *Process) Await(ctx context.Context, ready func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		last := ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %w%s", p.Name, errors.Join(p.err), p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w (%w)%s", p.Name, ctx.Err(), last, p.tail())
		case <-tick.C:
		}
	}
}

// tail returns the last lines that the process printed, each on a line.
func (p *Process) tail() string {
	b, err := os.ReadFile(p.Log)
	if err != nil || len(b) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	const most = 5
	return "\n  " + strings.Join(lines[max(0, len(lines)-most):], "\n  ")
}
