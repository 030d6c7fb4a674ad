//go:build linux

package main

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"simpd/cmd/simpbench/load"
)

type tlsFlags struct{ sessions int }

func tlsCommand(s *settings) *cobra.Command {
	var f tlsFlags
	c := command(s, "tls", "sessions over plain TCP and as many over TLS: what TLS adds to memory and to a login",
		func() ([]row, error) { return []row{f.row()}, between("--sessions", f.sessions, 10, 9000) })
	c.Flags().IntVar(&f.sessions, "sessions", 2000, "sessions of each kind")
	return c
}

func (f *tlsFlags) row() row {
	return row{name: "tls", stages: []stage{{nodes: 1, tls: true}}, users: 2 * f.sessions, play: f.play}
}

func (f *tlsFlags) play(ctx context.Context, r *round) error {
	clear, err := f.measure(ctx, r, "plain TCP", func() error {
		_, err := r.login(ctx, 0, f.sessions, firstNode)
		return err
	})
	if err != nil {
		return err
	}
	var all []*load.Secure
	defer func() {
		for _, s := range all {
			s.Close()
		}
	}()
	secure, err := f.measure(ctx, r, "TLS", func() (err error) {
		all, err = r.loginSecure(ctx, f.sessions, 2*f.sessions)
		return err
	})
	if err == nil {
		r.report("memory that TLS adds to a session", "KiB", secure-clear)
	}
	return err
}

// measure returns the KiB that each of the sessions that enter takes.
func (f *tlsFlags) measure(ctx context.Context, r *round, kind string, enter func() error) (float64, error) {
	cpu0, err := r.subject.cpu()
	if err != nil {
		return 0, err
	}
	before, err := r.subject.memory()
	if err != nil {
		return 0, err
	}
	if err := enter(); err != nil {
		return 0, err
	}
	cpu1, err := r.subject.cpu()
	if err != nil {
		return 0, err
	}
	if err := r.loop.RunFor(ctx, r.settle); err != nil {
		return 0, err
	}
	after, err := r.subject.memory()
	if err != nil {
		return 0, err
	}
	each := float64(after[0].Resident-before[0].Resident) / float64(f.sessions) / 1024
	r.report("CPU a login, "+kind, "µs", microseconds(cpu1-cpu0)/float64(f.sessions))
	r.report("memory a session, "+kind, "KiB", each)
	return each, nil
}

// loginSecure brings users first to end-1 in over TLS.
func (r *round) loginSecure(ctx context.Context, first, end int) ([]*load.Secure, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	all := make([]*load.Secure, end-first)
	failures := make([]error, r.atATime)
	var running sync.WaitGroup
	for w := range r.atATime {
		running.Go(func() {
			for i := w; i < len(all) && failures[w] == nil; i += r.atATime {
				user := first + i
				all[i], failures[w] = load.LoginSecure(ctx, r.subject.dialect, user, r.subject.secure, source(user), r.subject.tls)
			}
		})
	}
	running.Wait()
	all = slices.DeleteFunc(all, func(s *load.Secure) bool { return s == nil }) // of logins that failed
	return all, errors.Join(failures...)
}
