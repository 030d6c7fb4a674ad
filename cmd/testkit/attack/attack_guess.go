package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// guessesSix: a source of IPv6 has more addresses than can be counted.
func guessesSix() attack {
	return attack{
		name: "guesses-six", actor: stranger, least: 1, never: []string{"200"}, atMost: map[string]float64{"401": 100},
		does:  "guess honest users' passwords from ever new addresses of one IPv6 /64, 200 times a second",
		harms: "get more than 100 guesses a minute, or lock the users out",
		run: func(ctx context.Context, g *ground, t *tally) error {
			var n atomic.Int64
			return crew(ctx, t, 10, 250*time.Millisecond, func(ctx context.Context, i int) error {
				k := int(n.Add(1))
				return g.guess(ctx, t, sixSource(k), g.node(k).Six, honestUser(k%8))
			})
		},
	}
}

// guessesWide: many sources, one account.
func guessesWide() attack {
	return attack{
		name: "guesses-wide", actor: stranger, least: 0.5, never: []string{"200"}, atMost: map[string]float64{"401": 60},
		does:  "guess one account's password from 250 sources, 50 times a second",
		harms: "get more than 60 guesses a minute",
		run: func(ctx context.Context, g *ground, t *tally) error {
			var n atomic.Int64
			return crew(ctx, t, 5, 500*time.Millisecond, func(ctx context.Context, i int) error {
				k := int(n.Add(1))
				return g.guess(ctx, t, swarmSource(k), g.node(k).SIMPS, "mallory19")
			})
		},
	}
}

// guess makes five guesses on one connection.
func (g *ground) guess(ctx context.Context, t *tally, from net.Addr, to, user string) error {
	c, err := g.dialTLS(ctx, t, from, to, g.trust)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.open("HELLO version=SIMP/1.0"); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(loginTimeout))
	for i := range 5 {
		plain := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "\x00%s\x00guess %d %d", g.address(user), i, time.Now().UnixNano()))
		t.add(1)
		status, err := c.ask("AUTH mech=PLAIN data=" + plain)
		if err != nil {
			return err
		}
		t.tell(status)
	}
	return nil
}
