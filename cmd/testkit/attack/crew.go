package main

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"simpd/protocol/wait"
)

// crew has so many attackers each do one thing, and do it again when it is
// over, until ctx ends; begun anew once in pause at the most. An error of
// theirs, as when they are sent away, is an outcome like others.
func crew(ctx context.Context, t *tally, n int, pause time.Duration, do func(ctx context.Context, i int) error) error {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				begun := time.Now()
				if err := do(ctx, i); err != nil && ctx.Err() == nil {
					t.tell(outcomeOfAttack(err))
				}
				wait.Sleep(ctx, pause-time.Since(begun))
			}
		})
	}
	all.Wait()
	return nil
}

// outcomeOfAttack is an error in few words.
func outcomeOfAttack(err error) string {
	text := err.Error()
	for _, words := range []string{"connection refused", "reset by peer", "broken pipe", "EOF", "timeout", "use of closed", "i/o timeout", "deadline"} {
		if strings.Contains(text, words) {
			return words
		}
	}
	return text[:min(len(text), 60)]
}

// every does something so many times a second until ctx ends or it fails.
func every(ctx context.Context, perSecond int, do func() error) error {
	ticks := time.NewTicker(time.Second / time.Duration(perSecond))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
		if err := do(); err != nil {
			return err
		}
	}
}

// talker is a user who logs in and then says something at a steady rate.
type talker struct {
	user      string
	from      net.Addr
	node      int
	begins    []string // requests at the beginning
	perSecond int
}

// talk logs a talker in, and has them say what say returns, which counts as so
// many tries, until ctx ends or they are sent away. What comes is counted, and
// accepted.
func (g *ground) talk(ctx context.Context, t *tally, who talker, say func() (octets string, tries int)) error {
	c, err := g.login(ctx, t, who.from, g.node(who.node).SIMPS, who.user)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.open(who.begins...); err != nil {
		return err
	}
	go c.listen("200")
	return every(ctx, who.perSecond, func() error {
		octets, tries := say()
		t.add(tries)
		return c.say(octets)
	})
}

// numbered returns what says so many lines at a time, each with its number.
func numbered(lines int, line func(n int) string) func() (octets string, tries int) {
	n := 0
	return func() (string, int) {
		var burst strings.Builder
		for range lines {
			n++
			burst.WriteString(line(n))
		}
		return burst.String(), lines
	}
}

// always returns what says the same each time.
func always(octets string, tries int) func() (string, int) {
	return func() (string, int) { return octets, tries }
}
