package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// churn: what an account changes is kept in every node's history.
func churn() attack {
	note := strings.Repeat("x", 240)
	return attack{
		name: "churn", actor: user, least: 50,
		does:  "one account with 16 sessions changes state 2,000 times a second, each with a note of 256 octets",
		harms: "fill the memory, the log or the snapshots of the nodes",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 16, time.Second, func(ctx context.Context, i int) error {
				who := talker{user: "mallory0", from: attackSource(i), node: i, begins: []string{"LISTEN"}, perSecond: 25}
				return g.talk(ctx, t, who, numbered(5, func(n int) string {
					return fmt.Sprintf("%d STATE state=busy note=%d%s\r\n", n, n, note)
				}))
			})
		},
	}
}

// contactChurn: each change of a list is an entry of the log.
func contactChurn() attack {
	name := strings.Repeat("y", 240)
	return attack{
		name: "contact-churn", actor: user, least: 100,
		does:  "one account changes its contact list 4,000 times a second, with names of 250 octets",
		harms: "fill the log, or keep others' changes waiting",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 4, time.Second, func(ctx context.Context, i int) error {
				who := talker{user: "mallory1", from: attackSource(20 + i), node: i, perSecond: 50}
				return g.talk(ctx, t, who, numbered(20, func(n int) string {
					return fmt.Sprintf("%d CONTACT ima=c%d@other.example name=%d%s\r\n", n, n%900, n, name)
				}))
			})
		},
	}
}
