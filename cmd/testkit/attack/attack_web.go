package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"time"
)

// slowPosts: a connection that does not become a WebSocket.
func slowPosts() attack {
	return slowWeb("slow-posts", "200 connections to the WebSocket listener POST an octet a second",
		"POST /simp HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1000000\r\n\r\n", "x")
}

// slowGets: likewise, one small request after the other.
func slowGets() attack {
	get := "GET /other HTTP/1.1\r\nHost: example.com\r\n\r\n"
	return slowWeb("slow-gets", "200 connections to the WebSocket listener GET something else every second", get, get)
}

func slowWeb(name, does, first, again string) attack {
	return attack{
		name: name, actor: stranger, least: 2, does: does,
		harms: "keep a connection that is not a WebSocket forever",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 200, 2*time.Second, func(ctx context.Context, i int) error {
				begun := time.Now()
				c, err := g.dialTLS(ctx, t, attackSource(195+i%4), g.node(i).WS, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
				if err != nil {
					return err
				}
				defer c.Close()
				go io.Copy(io.Discard, c.Conn)
				if err := c.say(first); err != nil {
					return err
				}
				err = every(ctx, 1, func() error {
					t.add(1)
					return c.say(again)
				})
				t.tell(fmt.Sprintf("kept for %d s", time.Since(begun)/(10*time.Second)*10))
				return err
			})
		},
	}
}
