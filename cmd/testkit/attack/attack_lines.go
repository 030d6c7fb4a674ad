package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// junk: what is no line at all costs something too.
func junk() attack {
	burst := strings.Repeat(strings.Repeat("!", 60)+"\r\n", 64)
	return attack{
		name: "junk", actor: stranger, least: 50,
		does:  "48 connections send 10 MB/s of junk before AUTH, and come again when they are sent away",
		harms: "keep others waiting",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 48, 500*time.Millisecond, func(ctx context.Context, i int) error {
				c, err := g.dial(ctx, t, attackSource(33), g.node(i).SIMP)
				if err != nil {
					return err
				}
				defer c.Close()
				go c.listen("")
				return every(ctx, 50, func() error {
					t.add(64)
					return c.say(burst)
				})
			})
		},
	}
}

// badCommands: wrong requests are answered, too.
func badCommands() attack {
	burst := strings.Repeat("1 NONSENSE with=params\r\n", 100) + strings.Repeat("1 SEND to=nobody\r\n", 100)
	return attack{
		name: "bad-commands", actor: user, least: 50,
		does:  "8 connections of a user make 2,000 wrong requests a second each",
		harms: "keep others waiting",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 8, time.Second, func(ctx context.Context, i int) error {
				who := talker{user: "mallory17", from: attackSource(160 + i), node: i, perSecond: 10}
				return g.talk(ctx, t, who, always(burst, 200))
			})
		},
	}
}

// idn: addresses in other scripts cost more than others to read.
func idn() attack {
	line := "1 QUERY"
	address := strings.Repeat("ünïcödé", 4) + "@" + strings.Repeat(strings.Repeat("bücher", 2)+".", 6) + "example"
	for i := 0; len(line)+len(address) < 3900; i++ {
		line += fmt.Sprintf(" ima=%d%s", i, address)
	}
	burst := strings.Repeat(line+"\r\n", 8)
	return attack{
		name: "idn", actor: user, least: 20,
		does:  "8 connections of a user, and 40 that have not logged in, ask for addresses in other scripts, 4 MB/s of them",
		harms: "keep others waiting",
		run: func(ctx context.Context, g *ground, t *tally) error {
			go func() {
				_ = crew(ctx, t, 40, time.Second, func(ctx context.Context, i int) error {
					c, err := g.dial(ctx, t, attackSource(34), g.node(i).SIMP)
					if err != nil {
						return err
					}
					defer c.Close()
					go c.listen("")
					return every(ctx, 2, func() error {
						t.add(8)
						return c.say("1 HELLO version=SIMP/1.0\r\n" + burst)
					})
				})
			}()
			return crew(ctx, t, 8, time.Second, func(ctx context.Context, i int) error {
				who := talker{user: "mallory18", from: attackSource(170 + i), node: i, perSecond: 5}
				return g.talk(ctx, t, who, always(burst, 8))
			})
		},
	}
}
