//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"simpd/cmd/simpbench/load"
)

// logins brings clients in, settings.atATime at a time.
type logins struct {
	load.Ignore
	round   *round
	clients []*load.Client // by the place of their number
	first   int            // the first user's number
	begun   int
	ready   int
	failed  error
	at      func(user int) int // the node to go to
}

// loginTimeout bounds how long all logins together may take.
const loginTimeout = 2 * time.Minute

// firstNode sends all users to the first node.
func firstNode(int) int { return 0 }

// login brings users first to end-1 in, each to the node that at names, and
// returns once all can be reached.
func (r *round) login(ctx context.Context, first, end int, at func(user int) int) ([]*load.Client, error) {
	l := &logins{round: r, clients: make([]*load.Client, end-first), first: first, at: at}
	for range min(r.atATime, end-first) {
		l.next()
	}
	err := r.loop.Run(ctx, loginTimeout, func() bool { return l.failed != nil || l.ready == len(l.clients) })
	if l.failed != nil {
		return nil, l.failed
	}
	if errors.Is(err, load.ErrTimeout) {
		err = fmt.Errorf("%d of %d logins: %w", l.ready, len(l.clients), err)
	}
	return l.clients, err
}

func (l *logins) next() {
	if l.begun == len(l.clients) || l.failed != nil {
		return
	}
	user := l.first + l.begun
	s := l.round.subject
	c, err := l.round.loop.Login(s.dialect, user, s.at[l.at(user)%len(s.at)], source(user), l)
	if err != nil {
		l.failed = err
		return
	}
	l.clients[l.begun] = c
	l.begun++
}

func (l *logins) Ready(*load.Client) {
	l.ready++
	l.next()
}

func (l *logins) Gone(c *load.Client, err error) {
	if l.failed == nil {
		l.failed = fmt.Errorf("login of %s: %w", c.Name, err)
	}
}
