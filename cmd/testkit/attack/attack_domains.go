package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// remoteDomains: each new domain that a user writes to has to be found.
func remoteDomains() attack {
	return attack{
		name: "remote-domains", actor: user, least: 5,
		does:  "3 users write to ever new domains of one zone, whose DNS leads nowhere, 300 a second",
		harms: "take the room for other sites from everybody, or fill the memory",
		run: func(ctx context.Context, g *ground, t *tally) error {
			if err := g.openDNS(ctx); err != nil {
				return err
			}
			var n atomic.Int64
			return crew(ctx, t, 3, time.Second, func(ctx context.Context, i int) error {
				who := talker{user: fmt.Sprintf("mallory%d", 24+i), from: attackSource(235 + i), node: i, perSecond: 20}
				return g.talk(ctx, t, who, numbered(5, func(int) string {
					return fmt.Sprintf("1 SEND to=u@r%d.%s timeout=10 {2}\r\n\r\n", n.Add(1), evilZone)
				}))
			})
		},
	}
}
