package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// attackFrom is the attackers' process: it attacks until its standard input
// ends, and tells its counts once a second.
func attackFrom(file string, all []attack) error {
	g, err := readGround(file)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	tallies := map[string]*tally{}
	var running sync.WaitGroup
	for _, a := range all {
		t := &tally{}
		tallies[a.name] = t
		running.Go(func() { t.end(ctx, a.run(ctx, g, t)) })
	}
	tellCounts(ctx, tallies, os.Stdout)
	time.AfterFunc(stopLimit, func() { os.Exit(1) }) // what does not end is ended
	running.Wait()
	return nil
}

// stopLimit limits how long attacks take to stop.
const stopLimit = 10 * time.Second

// end notes why an attack ended before it was told to.
func (t *tally) end(ctx context.Context, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil && ctx.Err() == nil:
		t.err = err
	case ctx.Err() == nil:
		t.err = fmt.Errorf("it ended by itself")
	}
}

func tellCounts(ctx context.Context, tallies map[string]*tally, w io.Writer) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	out := json.NewEncoder(w)
	for over := false; !over; {
		select {
		case <-every.C:
		case <-ctx.Done():
			over = true
		}
		all := map[string]counts{}
		for name, t := range tallies {
			all[name] = t.counts()
		}
		if out.Encode(all) != nil {
			return
		}
	}
}

// attackers is that process, as the laboratory sees it.
type attackers struct {
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{}
	mu    sync.Mutex
	last  map[string]counts
}

// startAttackers starts it, in Linux's idle class: it takes what everybody else
// leaves. Attackers have machines of their own, and only what the site spends on
// them counts.
func startAttackers(file, only string) (*attackers, error) {
	a := &attackers{done: make(chan struct{})}
	a.cmd = exec.Command("chrt", "--idle", "0", os.Args[0], "-attackers", file, "-only", only)
	a.cmd.Stderr = os.Stderr
	a.cmd.Env = append(os.Environ(), "GOMEMLIMIT=1GiB")
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C is for the laboratory, which then ends them
	var err error
	if a.stdin, err = a.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	go a.listen(out)
	return a, nil
}

func (a *attackers) listen(out io.Reader) {
	defer close(a.done)
	lines := json.NewDecoder(bufio.NewReader(out))
	for {
		var all map[string]counts
		if lines.Decode(&all) != nil {
			break
		}
		a.mu.Lock()
		a.last = all
		a.mu.Unlock()
	}
	_ = a.cmd.Wait()
}

// stop ends the attacks and returns what they counted.
func (a *attackers) stop() map[string]counts {
	_ = a.stdin.Close()
	limit := time.AfterFunc(2*stopLimit, func() { _ = a.cmd.Process.Kill() })
	defer limit.Stop()
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}
