package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// endlessAnswers: a user asks a site that never comes to an end.
func endlessAnswers() attack {
	return attack{
		name: "endless-answers", actor: otherSite, least: 1,
		does:  "a user's messages and queries to another site are answered by 100 lines without an end",
		harms: "fill the memory",
		run: func(ctx context.Context, g *ground, t *tally) error {
			if err := g.openHostile(ctx, endlessUser, t); err != nil {
				return err
			}
			to := endlessUser + "@" + g.Hostile.Domain
			burst := strings.Repeat("1 SEND to="+to+" timeout=30 {2}\r\n\r\n2 QUERY ima="+to+"\r\n", 5)
			return crew(ctx, t, 3, time.Second, func(ctx context.Context, i int) error {
				who := talker{user: "mallory20", from: attackSource(210 + i), node: i, perSecond: 1}
				return g.talk(ctx, t, who, always(burst, 10))
			})
		},
	}
}

// presenceFlood: a site whose user never rests.
func presenceFlood() attack {
	return attack{
		name: "presence-flood", actor: otherSite, least: 1,
		does:  "another site tells 6,400 changes a second of a user whom 30 connections watch",
		harms: "keep others waiting, or fill the memory",
		run: func(ctx context.Context, g *ground, t *tally) error {
			if err := g.openHostile(ctx, floodUser, t); err != nil {
				return err
			}
			return crew(ctx, t, 30, 2*time.Second, func(ctx context.Context, i int) error {
				c, err := g.login(ctx, t, attackSource(213+i%3), g.node(i).SIMPS, fmt.Sprintf("mallory%d", 21+i%3))
				if err != nil {
					return err
				}
				defer c.Close()
				t.add(1)
				if err := c.say("1 WATCH ima=" + floodUser + "@" + g.Hostile.Domain + "\r\n"); err != nil {
					return err
				}
				c.listen("200")
				return nil
			})
		},
	}
}

// products: who is asked for times on whose behalf.
func products() attack {
	line := "QUERY"
	for i := 0; len(line) < 4000; i++ {
		line += fmt.Sprintf(" by=%d@%s ima=%d@%s", i, hostileDomain, i, siteDomain)
	}
	burst := strings.Repeat("1 "+line+"\r\n1 "+strings.Replace(line, "QUERY", "WATCH", 1)+"\r\n1 UNWATCH\r\n", 2)
	return attack{
		name: "products", actor: otherSite, least: 1,
		does:  "4 routing connections ask, on behalf of 100 users each, for 100 users at a time",
		harms: "keep others waiting",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 4, time.Second, func(ctx context.Context, i int) error {
				c, err := g.route(ctx, t, i)
				if err != nil {
					return err
				}
				defer c.Close()
				go c.listen("200")
				return every(ctx, 2, func() error {
					t.add(6)
					return c.say(burst)
				})
			})
		},
	}
}

// route opens a routing connection as the hostile site, by its certificate.
func (g *ground) route(ctx context.Context, t *tally, i int) (*raw, error) {
	certificate, err := tls.LoadX509KeyPair(g.Hostile.Cert, g.Hostile.Key)
	if err != nil {
		return nil, err
	}
	config := g.trust.Clone()
	config.Certificates = []tls.Certificate{certificate}
	c, err := g.dialTLS(ctx, t, attackSource(216+i), g.node(i).SIMPS, config)
	if err != nil {
		return nil, err
	}
	domain := base64.StdEncoding.EncodeToString([]byte(g.Hostile.Domain))
	if err := c.open("HELLO version=SIMP/1.0", "AUTH mech=EXTERNAL data="+domain); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// dialbacks: a zone has as many names as its owner likes.
func dialbacks() attack {
	return attack{
		name: "dialbacks", actor: otherSite, least: 2, never: []string{"200"},
		does:  "50 connections claim ever new domains of one zone, whose DNS leads nowhere",
		harms: "take all slots that other sites are verified in, or pass",
		run: func(ctx context.Context, g *ground, t *tally) error {
			if err := g.openDNS(ctx); err != nil {
				return err
			}
			var n atomic.Int64
			return crew(ctx, t, 50, 500*time.Millisecond, func(ctx context.Context, i int) error {
				c, err := g.dialTLS(ctx, t, attackSource(220+i%3), g.node(i).SIMPS, g.trust)
				if err != nil {
					return err
				}
				defer c.Close()
				if err := c.open("HELLO version=SIMP/1.0"); err != nil {
					return err
				}
				return g.dialback(c, t, fmt.Sprintf("d%d.%s", n.Add(1), evilZone))
			})
		},
	}
}

// dialback claims a domain, with a proof that nobody will confirm.
func (g *ground) dialback(c *raw, t *tally, domain string) error {
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	t.add(1)
	proof := base64.StdEncoding.EncodeToString(make([]byte, 32))
	if err := c.say("q AUTH mech=DIALBACK data=" + base64.StdEncoding.EncodeToString([]byte(domain)) + "\r\n"); err != nil {
		return err
	}
	for {
		tag, word, err := c.read()
		switch {
		case err != nil:
			return err
		case tag != "q":
		case word == "101":
			if err := c.say("q MORE data=" + proof + "\r\n"); err != nil {
				return err
			}
		default:
			t.tell(word)
			return nil
		}
	}
}
