package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	floodedUsers = 4  // each with as many sessions as there may be
	mostSessions = 16 // of a user
	floodSize    = 60 << 10
)

// floodedSessions: one message is held by each session that does not read it.
func floodedSessions() attack {
	return attack{
		name: "flooded-sessions", actor: user, least: 0.5,
		does:  "4 accounts of 16 sessions each neither read nor answer what they send one another, 60 KiB at a time",
		harms: "use up the room for messages, so that others are refused",
		run: func(ctx context.Context, g *ground, t *tally) error {
			go func() {
				_ = crew(ctx, t, floodedUsers*mostSessions, 2*time.Second, func(ctx context.Context, i int) error {
					c, err := g.login(ctx, t, attackSource(60+i), g.node(i).SIMPS, floodedUser(i))
					if err != nil {
						return err
					}
					defer c.Close()
					if err := c.open("LISTEN"); err != nil {
						return err
					}
					<-ctx.Done()
					return nil
				})
			}()
			return crew(ctx, t, 2, time.Second, func(ctx context.Context, i int) error { return g.flood(ctx, t, i) })
		},
	}
}

func floodedUser(i int) string { return fmt.Sprintf("mallory%d", 10+i%floodedUsers) }

// flood sends big messages to the flooded, 20 a second.
func (g *ground) flood(ctx context.Context, t *tally, i int) error {
	var to strings.Builder
	for k := range floodedUsers {
		to.WriteString(" to=" + g.address(floodedUser(k)))
	}
	entity := "\r\n" + strings.Repeat("f", floodSize)
	who := talker{user: fmt.Sprintf("mallory%d", 14+i), from: attackSource(130 + i), node: i, perSecond: 10}
	return g.talk(ctx, t, who, always(fmt.Sprintf("1 SEND%s timeout=60 {%d}\r\n%s", to.String(), len(entity), entity), 1))
}

// ids: the ids of messages are remembered for five minutes.
func ids() attack {
	return attack{
		name: "ids", actor: user, least: 20,
		does:  "one account sends 2,000 messages a second to its own sessions, with ids of 64 octets, and accepts them",
		harms: "fill the memory with ids that a node remembers",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 4, time.Second, func(ctx context.Context, i int) error {
				who := talker{user: "mallory16", from: attackSource(140 + i), node: i, begins: []string{"LISTEN"}, perSecond: 25}
				return g.talk(ctx, t, who, numbered(20, func(n int) string {
					return fmt.Sprintf("%d SEND to=%s id=%064d {2}\r\n\r\n", n, g.address(who.user), n*16+i)
				}))
			})
		},
	}
}
