package main

import (
	"context"
	"time"

	"simpd/protocol/tlsrecord/tlsrecordtest"
)

// keyUpdates: each is answered by one, which is held if nobody reads.
func keyUpdates() attack {
	return attack{
		name: "key-updates", actor: stranger, least: 5,
		does:  "4 TLS connections ask for new keys 1,000 times a second each, and do not read",
		harms: "have the answers fill the memory",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 4, time.Second, func(ctx context.Context, i int) error { return g.updateKeys(ctx, t, i) })
		},
	}
}

func (g *ground) updateKeys(ctx context.Context, t *tally, i int) error {
	c, err := g.dial(ctx, t, attackSource(230), g.node(i).SIMPS)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(dialTimeout))
	w, err := tlsrecordtest.Handshake(ctx, c.Conn, g.trust)
	if err != nil {
		return err
	}
	_ = c.SetDeadline(time.Time{})
	return every(ctx, 20, func() error {
		const updates = 50
		octets, err := w.Updates(updates, "\r\n")
		if err != nil {
			return err
		}
		t.add(updates)
		return c.say(string(octets))
	})
}
