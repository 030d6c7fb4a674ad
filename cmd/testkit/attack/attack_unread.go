package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// pings: answers that nobody reads are held.
func pings() attack {
	burst := strings.Repeat("1 PING\r\n", 4096)
	return attack{
		name: "pings", actor: stranger, least: 1,
		does:  "4 connections send PING as fast as they may, and do not read",
		harms: "have their answers fill the memory",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 4, time.Second, func(ctx context.Context, i int) error {
				c, err := g.dial(ctx, t, attackSource(30), g.node(i).SIMP)
				if err != nil {
					return err
				}
				defer c.Close()
				return every(ctx, 50, func() error {
					t.add(1)
					return c.say(burst)
				})
			})
		},
	}
}

// pipelines: what one source may have unanswered before it has logged in.
func pipelines() attack {
	big := base64.StdEncoding.EncodeToString(make([]byte, 11<<10))
	burst := strings.Repeat(fmt.Sprintf("1 AUTH mech=SCRAM-SHA-256 data={%d}\r\n%s", len(big), big), 16)
	return attack{
		name: "pipelines", actor: stranger, least: 1,
		does:  "40 connections, of one IPv4 source and one IPv6 /64, send pipelines of 240 KB of AUTH, and do not read",
		harms: "use up what all may have unanswered",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 40, time.Second, func(ctx context.Context, i int) error {
				from, to := attackSource(31), g.node(i).SIMPS
				if i%2 == 1 {
					from, to = sixSource(i), g.node(i).Six
				}
				c, err := g.dialTLS(ctx, t, from, to, g.trust)
				if err != nil {
					return err
				}
				defer c.Close()
				if err := c.say("1 HELLO version=SIMP/1.0\r\n"); err != nil {
					return err
				}
				return every(ctx, 2, func() error {
					t.add(1)
					return c.say(burst)
				})
			})
		},
	}
}

// params: what a line costs once it is parsed.
func params() attack {
	line := "1 PING"
	for len(line) < 4085 {
		line += " a=b"
	}
	burst := strings.Repeat(line+"\r\n", 16)
	return attack{
		name: "params", actor: stranger, least: 5,
		does:  "8 connections send lines of 1,000 tiny params before AUTH, and do not read",
		harms: "cost 16 times their octets in memory",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 8, time.Second, func(ctx context.Context, i int) error {
				c, err := g.dial(ctx, t, attackSource(32), g.node(i).SIMP)
				if err != nil {
					return err
				}
				defer c.Close()
				return every(ctx, 10, func() error {
					t.add(16)
					return c.say(burst)
				})
			})
		},
	}
}
