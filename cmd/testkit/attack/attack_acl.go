package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"simpd/protocol/wait"
)

const (
	ruled         = "mallory7"
	ruledWatchers = 100
)

// acl: rules are looked at for each sender and each watcher.
func acl() attack {
	return attack{
		name: "acl", actor: user, least: 5,
		does:  "a user with as many rules as they get is sent bursts of 1,000 messages, changes state all the time and has 100 watchers",
		harms: "keep the messages and the changes of others waiting",
		run: func(ctx context.Context, g *ground, t *tally) error {
			if err := g.setRules(ctx, t); err != nil {
				return err
			}
			go func() {
				_ = crew(ctx, t, ruledWatchers, 2*time.Second, func(ctx context.Context, i int) error { return g.watchRuled(ctx, t, i) })
			}()
			go func() {
				_ = crew(ctx, t, 1, time.Second, func(ctx context.Context, _ int) error { return g.flap(ctx, t) })
			}()
			return crew(ctx, t, 3, time.Second, func(ctx context.Context, i int) error { return g.sendBursts(ctx, t, i) })
		},
	}
}

// setRules sets as many of 1,000 rules as the site takes in some seconds.
func (g *ground) setRules(ctx context.Context, t *tally) error {
	c, err := g.login(ctx, t, attackSource(150), g.Nodes[0].SIMPS, ruled)
	if err != nil {
		return err
	}
	defer c.Close()
	limit := time.Now().Add(fillTime)
	for i := 0; i < 1000 && time.Now().Before(limit); {
		status, err := c.ask(fmt.Sprintf("ACL who=ünïcödé%d@bücher%d.example message=deny presence=allow", i, i))
		if err != nil {
			return err
		}
		if status == "200" {
			i++
		} else if !wait.Sleep(ctx, time.Second) {
			break
		}
	}
	return nil
}

func (g *ground) watchRuled(ctx context.Context, t *tally, i int) error {
	c, err := g.login(ctx, t, attackSource(i), g.node(i).SIMPS, "mallory8")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.open("WATCH ima=" + g.address(ruled)); err != nil {
		return err
	}
	c.listen("200")
	return nil
}

func (g *ground) flap(ctx context.Context, t *tally) error {
	states := []string{"busy", "away"}
	who := talker{user: ruled, from: attackSource(151), node: 1, begins: []string{"LISTEN"}, perSecond: 100}
	return g.talk(ctx, t, who, numbered(1, func(n int) string { return fmt.Sprintf("%d STATE state=%s\r\n", n, states[n%2]) }))
}

// sendBursts sends a thousand messages at once, every second.
func (g *ground) sendBursts(ctx context.Context, t *tally, i int) error {
	const messages = 1000
	who := talker{user: "mallory9", from: attackSource(152 + i), node: i, perSecond: 1}
	return g.talk(ctx, t, who, always(strings.Repeat("1 SEND to="+g.address(ruled)+" {2}\r\n\r\n", messages), messages))
}
