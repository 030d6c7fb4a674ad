//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/simpbench/host"
	"simpd/cmd/simpbench/load"
)

type rampFlags struct {
	steps    []int
	nodes    []int
	messages bool
}

func rampCommand(s *settings) *cobra.Command {
	var f rampFlags
	c := command(s, "ramp", "sessions step by step: processor time for a login, memory of an idle session",
		func() ([]row, error) { return f.rows(), f.check() })
	c.Flags().IntSliceVar(&f.steps, "steps", []int{1000, 5000, 15_000}, "sessions at the end of each step")
	c.Flags().IntSliceVar(&f.nodes, "nodes", []int{1, 3}, "sizes of the sites")
	c.Flags().BoolVar(&f.messages, "messages", true, "measure messages at each step as well, on servers of their own")
	return c
}

func (f *rampFlags) check() error {
	if len(f.steps) == 0 || !slices.IsSorted(f.steps) || f.steps[0] < 2 || f.steps[len(f.steps)-1] > 18_000 {
		return errors.New("--steps: rising numbers from 2 to 18000 (a process may open 20,000 files)")
	}
	for _, n := range f.nodes {
		if n != 1 && n != 3 && n != 5 {
			return fmt.Errorf("--nodes: %d is none of 1, 3 and 5", n)
		}
	}
	return nil
}

func (f *rampFlags) rows() []row {
	users := f.steps[len(f.steps)-1]
	stages := []stage{{}}
	for _, n := range f.nodes {
		stages = append(stages, stage{nodes: n})
	}
	all := []row{{name: "ramp", stages: stages, users: users, play: f.logins}}
	if f.messages {
		all = append(all, row{name: "ramp", stages: stages[:min(2, len(stages))], users: users, play: f.traffic})
	}
	return all
}

// logins brings all users to the first node, step by step, and lets them idle;
// as the nodes do before, lest what they no longer need of their start be
// taken off what sessions cost.
func (f *rampFlags) logins(ctx context.Context, r *round) error {
	if err := r.loop.RunFor(ctx, r.settle); err != nil {
		return err
	}
	empty, err := r.subject.memory()
	if err != nil {
		return err
	}
	before := 0
	for _, step := range f.steps {
		if err := r.loginStep(ctx, before, step); err != nil {
			return err
		}
		if err := r.loop.RunFor(ctx, r.settle); err != nil {
			return err
		}
		if err := r.reportMemory(empty, step); err != nil {
			return err
		}
		before = step
	}
	return nil
}

func (r *round) loginStep(ctx context.Context, first, end int) error {
	cpu0, err := r.subject.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	clients, err := r.login(ctx, first, end, firstNode)
	if err != nil {
		return err
	}
	cpu1, err := r.subject.cpu()
	if err != nil {
		return err
	}
	for _, c := range clients {
		c.Events = idle{}
	}
	r.report(fmt.Sprintf("CPU a login, up to %d", end), "µs", microseconds(cpu1-cpu0)/float64(end-first))
	r.report(fmt.Sprintf("logins a second, up to %d", end), "/s", float64(end-first)/time.Since(began).Seconds())
	return nil
}

// idle is the Events of a client to whom nothing happens.
type idle struct{ load.Ignore }

// reportMemory tells what a session costs where it is held, and elsewhere.
func (r *round) reportMemory(empty []host.Memory, sessions int) error {
	now, err := r.subject.memory()
	if err != nil {
		return err
	}
	each := func(node int) float64 {
		return float64(now[node].Resident-empty[node].Resident) / float64(sessions)
	}
	heaps := float64(now[0].Anonymous-empty[0].Anonymous) / float64(sessions)
	r.report(fmt.Sprintf("memory a session, at %d", sessions), "KiB", each(0)/1024)
	r.report(fmt.Sprintf("of it heap and stacks, at %d", sessions), "KiB", heaps/1024)
	for node := 1; node < len(now); node++ {
		r.report(fmt.Sprintf("memory a session on n%d, which does not hold it, at %d", node+1, sessions), "octets", each(node))
	}
	return nil
}

// memory reads that of each node.
func (s *subject) memory() ([]host.Memory, error) {
	all := make([]host.Memory, len(s.nodes))
	for i, n := range s.nodes {
		var err error
		if all[i], err = n.Memory(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// talkers is the number of sessions that send and receive while the others idle.
const talkers = 1000

// traffic measures a closed loop among some of the sessions at each step.
func (f *rampFlags) traffic(ctx context.Context, r *round) error {
	var clients []*load.Client
	for _, step := range f.steps {
		more, err := r.login(ctx, len(clients), step, firstNode)
		if err != nil {
			return err
		}
		clients = append(clients, more...)
		for _, c := range clients {
			c.Events = idle{}
		}
		each, _, err := r.traffic(ctx, spread(clients, talkers), 100)
		if err != nil {
			return err
		}
		r.report(fmt.Sprintf("CPU a message, 100 octets, at %d sessions", step), "µs", each)
	}
	return nil
}

// spread picks n of the clients, an even number, from all over.
func spread(clients []*load.Client, n int) []*load.Client {
	n = min(n, len(clients)) &^ 1
	some := make([]*load.Client, n)
	for i := range some {
		some[i] = clients[i*len(clients)/n]
	}
	return some
}
