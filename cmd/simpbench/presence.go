//go:build linux

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"simpd/cmd/simpbench/load"
)

// presence has groups of a user and those who watch them. The user changes,
// and changes again once all watchers were told and the change was answered.
type presence struct {
	tally
	groups  []*group
	of      map[*load.Client]*group
	watched int // WATCHes answered
	told    int
	refused int
	running bool
}

type group struct {
	user     *load.Client
	watchers int
	changes  int
	missing  int // who is still to be told of the change
	open     bool
}

func newPresence(clients []*load.Client, each int) *presence {
	p := &presence{tally: newTally(), of: map[*load.Client]*group{}}
	for i, c := range clients {
		if i%(each+1) == 0 {
			p.groups = append(p.groups, &group{user: c, watchers: each})
		}
		p.of[c], c.Events = p.groups[len(p.groups)-1], p
	}
	return p
}

// watch has every watcher watch.
func (p *presence) watch(ctx context.Context, r *round) error {
	for c, g := range p.of {
		if c != g.user {
			c.Watch(g.user.Name)
		}
	}
	want := len(p.of) - len(p.groups)
	if err := r.loop.Run(ctx, loginTimeout, func() bool { return p.watched == want || p.gone != nil }); err != nil {
		return fmt.Errorf("%d of %d watch: %w", p.watched, want, err)
	}
	return p.err()
}

func (p *presence) start() {
	p.running = true
	for _, g := range p.groups {
		p.change(g)
	}
}

func (p *presence) change(g *group) {
	g.changes++
	g.missing, g.open = g.watchers, true
	g.user.Publish(g.changes)
}

func (p *presence) Done(c *load.Client, status int) {
	if status != 200 {
		p.refused++
	}
	if g := p.of[c]; g.user == c {
		g.open = false
		p.next(g)
	} else {
		p.watched++
	}
}

func (p *presence) Told(c *load.Client) {
	g := p.of[c]
	g.missing--
	if p.running {
		p.told++
		p.next(g)
	}
}

func (p *presence) next(g *group) {
	if p.running && g.missing == 0 && !g.open && p.gone == nil {
		p.change(g)
	}
}

func (p *presence) err() error {
	if p.refused > 0 {
		return fmt.Errorf("%d of WATCH and STATE were refused", p.refused)
	}
	return p.tally.err()
}

type presenceFlags struct {
	watchers []int
	total    int
}

func presenceCommand(s *settings) *cobra.Command {
	var f presenceFlags
	c := command(s, "presence", "users who change and are watched: processor time for one watcher to be told",
		func() ([]row, error) { return f.rows(), f.check() })
	c.Flags().IntSliceVar(&f.watchers, "watchers", []int{100, 1000}, "watchers of one user")
	c.Flags().IntVar(&f.total, "total", 1000, "watchers in all; so many groups as that makes change side by side")
	return c
}

func (f *presenceFlags) check() error {
	for _, n := range f.watchers {
		if err := between("--watchers", n, 1, f.total); err != nil {
			return err
		}
	}
	return between("--total", f.total, 1, 15_000)
}

func (f *presenceFlags) rows() (all []row) {
	for _, n := range f.watchers {
		users := f.total / n * (n + 1)
		all = append(all, row{name: "presence", stages: []stage{{}, {nodes: 1}}, users: users,
			play: func(ctx context.Context, r *round) error { return playPresence(ctx, r, users, n) }})
	}
	return all
}

func playPresence(ctx context.Context, r *round, users, watchers int) error {
	clients, err := r.login(ctx, 0, users, firstNode)
	if err != nil {
		return err
	}
	p := newPresence(clients, watchers)
	if err := p.watch(ctx, r); err != nil {
		return err
	}
	p.start()
	each, rate, err := r.cpuPer(ctx, func() int { return p.told })
	if err == nil {
		err = p.err()
	}
	if err != nil {
		return err
	}
	r.report(fmt.Sprintf("CPU a notification, %d watchers", watchers), "µs", each)
	r.report(fmt.Sprintf("notifications a second, %d watchers", watchers), "/s", rate)
	return nil
}
