package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// churn: what an account changes is kept in every node's history.
func churn() attack {
	return attack{
		name: "churn", actor: user, least: 50,
		does:  "one account with 16 sessions changes state 2,000 times a second, each with a note of 256 octets",
		harms: "fill the memory, the log or the snapshots of the nodes",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 16, time.Second, func(ctx context.Context, i int) error {
				c, err := g.login(ctx, t, attackSource(i), g.node(i).SIMPS, "mallory0")
				if err != nil {
					return err
				}
				defer c.Close()
				if err := c.open("LISTEN"); err != nil {
					return err
				}
				go c.listen("200")
				n := 0
				return every(ctx, 25, func() error {
					var burst strings.Builder
					for range 5 {
						n++
						fmt.Fprintf(&burst, "%d STATE state=busy note=%d%s\r\n", n, n, strings.Repeat("x", 240))
					}
					t.add(5)
					return c.say(burst.String())
				})
			})
		},
	}
}

// contactChurn: each change of a list is an entry of the log.
func contactChurn() attack {
	return attack{
		name: "contact-churn", actor: user, least: 100,
		does:  "one account changes its contact list 4,000 times a second, with names of 250 octets",
		harms: "fill the log, or keep others' changes waiting",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 4, time.Second, func(ctx context.Context, i int) error {
				c, err := g.login(ctx, t, attackSource(20+i), g.node(i).SIMPS, "mallory1")
				if err != nil {
					return err
				}
				defer c.Close()
				go c.listen("200")
				n := 0
				return every(ctx, 50, func() error {
					var burst strings.Builder
					for range 20 {
						n++
						fmt.Fprintf(&burst, "%d CONTACT ima=c%d@other.example name=%d%s\r\n", n, n%900, n, strings.Repeat("y", 240))
					}
					t.add(20)
					return c.say(burst.String())
				})
			})
		},
	}
}
