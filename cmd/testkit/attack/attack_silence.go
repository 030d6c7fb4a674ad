package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// silence: who has not logged in holds a connection all the same.
func silence() attack {
	return attack{
		name: "silence", actor: stranger, least: 2,
		does:  "1,500 connections from one network open TLS or SIMP and say nothing",
		harms: "keep others out, or hold memory for longer than 30 s",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 1500, 2*time.Second, func(ctx context.Context, i int) error {
				to := g.node(i).SIMP
				if i%2 == 1 {
					to = g.node(i).SIMPS
				}
				begun := time.Now()
				c, err := g.dial(ctx, t, attackSource(i), to)
				if err != nil {
					return err
				}
				defer c.Close()
				t.add(1)
				_, _ = io.Copy(io.Discard, c.Conn) // until it is closed
				t.tell(fmt.Sprintf("kept for %d s", time.Since(begun)/(10*time.Second)*10))
				return nil
			})
		},
	}
}
