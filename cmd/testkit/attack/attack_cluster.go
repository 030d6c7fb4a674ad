package main

import (
	"context"
	"encoding/binary"
	"io"
	"time"
)

// Octets with which memberlist's messages begin.
const (
	encryptedMark = 10
	labelMark     = 244
)

// gossip: a length is announced before the key is asked for.
func gossip() attack {
	head := append([]byte{labelMark, byte(len(siteDomain))}, siteDomain...) // the site's name is no secret
	head = binary.BigEndian.AppendUint32(append(head, encryptedMark), 19<<20)
	chunk := make([]byte, 64<<10)
	return attack{
		name: "gossip", actor: stranger, least: 1,
		does:  "30 connections without the key announce 19 MiB each to gossip, and send them slowly",
		harms: "fill the memory",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 30, 2*time.Second, func(ctx context.Context, i int) error {
				c, err := g.dial(ctx, t, attackSource(190), g.node(i).Gossip)
				if err != nil {
					return err
				}
				defer c.Close()
				if err := c.say(string(head)); err != nil {
					return err
				}
				left := 19<<20 - 1
				return every(ctx, 16, func() error {
					if left == 0 {
						return nil
					}
					n := min(left, len(chunk))
					left -= n
					t.add(1)
					return c.say(string(chunk[:n]))
				})
			})
		},
	}
}

// clusterSilence: who says nothing waits for its handshake.
func clusterSilence() attack {
	return attack{
		name: "cluster-silence", actor: stranger, least: 2,
		does:  "600 connections to the nodes' own listeners say nothing",
		harms: "keep the nodes from one another",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 600, time.Second, func(ctx context.Context, i int) error {
				c, err := g.dial(ctx, t, attackSource(191+i%3), g.node(i).Cluster)
				if err != nil {
					return err
				}
				defer c.Close()
				t.add(1)
				_, _ = io.Copy(io.Discard, c.Conn) // until it is closed
				t.tell("closed")
				return nil
			})
		},
	}
}
