package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"simpd/protocol/wait"
)

// slowReaders: answers of one user that take all the room for answers.
func slowReaders() attack {
	return attack{
		name: "slow-readers", actor: user, least: 1,
		does:  "20 connections of one user ask for a contact list of 1,000 long names again and again, and do not read",
		harms: "have others refused because the room for answers is used up",
		run: func(ctx context.Context, g *ground, t *tally) error {
			if err := g.fillContacts(ctx, t, "mallory2"); err != nil {
				return err
			}
			return crew(ctx, t, 20, time.Second, func(ctx context.Context, i int) error {
				c, err := g.login(ctx, t, attackSource(40+i), g.node(i).SIMPS, "mallory2")
				if err != nil {
					return err
				}
				defer c.Close()
				return every(ctx, 20, func() error {
					t.add(1)
					return c.say("1 CONTACT\r\n")
				})
			})
		},
	}
}

// fillContacts gives a user a long contact list: what the site takes of it.
func (g *ground) fillContacts(ctx context.Context, t *tally, user string) error {
	c, err := g.login(ctx, t, attackSource(39), g.Nodes[0].SIMPS, user)
	if err != nil {
		return err
	}
	defer c.Close()
	limit := time.Now().Add(fillTime)
	for i := 0; i < 1000 && time.Now().Before(limit); {
		status, err := c.ask(fmt.Sprintf("CONTACT ima=c%d@other.example name=%s", i, strings.Repeat("z", 250)))
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

// fillTime limits how long an attack prepares.
const fillTime = 10 * time.Second
