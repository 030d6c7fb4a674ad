//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simpbench/host"
	"simpd/cmd/simpbench/load"
)

// bench runs rows one after the other.
type bench struct {
	settings
	servers, clients host.CPUs
	log              io.Writer // what is going on, for people
	results          *results
}

// row is one thing that is measured: a load, and what it is put on.
type row struct {
	name   string
	stages []stage
	users  int // accounts; a relay needs none
	play   func(ctx context.Context, r *round) error
}

// stage describes the sites that a row is measured on.
type stage struct {
	nodes  int  // of a site; 0: the relay; or inProcess
	oneway bool // the relay's messages want no acknowledgement
	tls    bool // the site takes clients over TLS as well
}

// inProcess is the stage of a row that starts no server.
const inProcess = -1

func (s stage) name() string {
	switch s.nodes {
	case inProcess:
		return "table"
	case 0:
		return relayName
	case 1:
		return simpdName
	}
	return siteName(s.nodes)
}

// round is one play of a row on a subject that was started for it.
type round struct {
	*bench
	row     string
	subject *subject
	loop    *load.Loop
}

// report keeps a measured value.
func (r *round) report(metric, unit string, value float64) {
	r.results.add(key{r.row, metric, unit, r.subject.name}, value)
}

func newBench(s *settings, log io.Writer, rows []row) (*bench, error) {
	b := &bench{settings: *s, log: log}
	machine := host.ThisMachine() // before this process is moved to some of it
	var err error
	if b.needsSimpd(rows) {
		if b.settings.simpd, err = s.program(); err != nil {
			return nil, err
		}
	}
	if b.servers, b.clients, err = s.place(); err != nil {
		return nil, cli.Failed(err)
	}
	b.results = newResults(b, machine)
	return b, nil
}

func (b *bench) needsSimpd(rows []row) bool {
	return slices.ContainsFunc(rows, func(r row) bool {
		return slices.ContainsFunc(r.stages, func(s stage) bool { return s.nodes > 0 && b.wanted(s) })
	})
}

// run plays the rows and prints what came out. A row that fails does not stop
// the next, unless ctx has ended.
func (b *bench) run(ctx context.Context, out io.Writer, rows ...row) error {
	var failures []error
	for _, r := range rows {
		if err := b.runRow(ctx, r); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", r.name, err))
			b.results.Failures = append(b.results.Failures, failures[len(failures)-1].Error())
		}
		if ctx.Err() != nil {
			break
		}
	}
	return cli.Failed(errors.Join(append(failures, b.results.write(out, b.json))...))
}

// runRow plays a row on each of its stages, round by round; every second
// round goes backwards, so that a machine that grows slower favours nobody.
func (b *bench) runRow(ctx context.Context, r row) error {
	for n := range b.runs {
		for i := range r.stages {
			if n%2 == 1 {
				i = len(r.stages) - 1 - i
			}
			if !b.wanted(r.stages[i]) {
				continue
			}
			fmt.Fprintf(b.log, "%s, round %d of %d, %s\n", r.name, n+1, b.runs, r.stages[i].name())
			if err := b.playOn(ctx, r, r.stages[i]); err != nil {
				return fmt.Errorf("on %s: %w", r.stages[i].name(), err)
			}
		}
	}
	return nil
}

func (b *bench) wanted(s stage) bool {
	return b.subjects == "both" || (b.subjects == relayName) == (s.nodes == 0)
}

func (b *bench) playOn(ctx context.Context, r row, at stage) error {
	s, err := b.start(ctx, at, r.users)
	if err != nil {
		return err
	}
	defer s.stop()
	loop, err := load.NewLoop()
	if err != nil {
		return err
	}
	defer loop.Close()
	return r.play(ctx, &round{bench: b, row: r.name, subject: s, loop: loop})
}

func (b *bench) start(ctx context.Context, at stage, users int) (*subject, error) {
	switch at.nodes {
	case inProcess:
		return &subject{name: at.name()}, nil
	case 0:
		return b.startRelay(ctx, at.oneway)
	}
	return b.startSite(ctx, at, users)
}

// cpuPer measures the processor time of the servers for each of what count
// counts, over the bench's duration and after its warm-up.
func (r *round) cpuPer(ctx context.Context, count func() int) (each, rate float64, err error) {
	if err := r.loop.RunFor(ctx, r.warmup); err != nil {
		return 0, 0, err
	}
	cpu0, err := r.subject.cpu()
	if err != nil {
		return 0, 0, err
	}
	began, n0 := time.Now(), count()
	if err := r.loop.RunFor(ctx, r.duration); err != nil {
		return 0, 0, err
	}
	took, n := time.Since(began), count()-n0
	cpu1, err := r.subject.cpu()
	if err == nil && n == 0 {
		err = errors.New("nothing happened while it was measured")
	}
	return microseconds(cpu1-cpu0) / float64(n), float64(n) / took.Seconds(), err
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// command makes the command of a row, or of several that belong together.
// rows is called once the flags are read.
func command(s *settings, name, short string, rows func() ([]row, error)) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s.shorten()
			if err := s.check(); err != nil {
				return err
			}
			all, err := rows()
			if err != nil {
				return err
			}
			b, err := newBench(s, c.ErrOrStderr(), all)
			if err != nil {
				return err
			}
			return b.run(c.Context(), c.OutOrStdout(), all...)
		},
	}
}
