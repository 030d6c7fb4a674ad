package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
)

const (
	endlessUser = "endless" // of the hostile site: answers about them never end
	floodUser   = "flood"   // of the hostile site: they change state all the time

	hostileChunk = 64 // lines that are written at once
	hostileRate  = 100
)

// hostileSite is another site, which answers as no site should. What it does
// depends on whom it is asked about.
type hostileSite struct {
	listener net.Listener
	domain   string
	mu       sync.Mutex
	tallies  map[string]*tally // by the user that is asked about
}

// openHostile has the other site listen, and count in t what it says about a
// user of its own.
func (g *ground) openHostile(ctx context.Context, user string, t *tally) error {
	err := g.hostile.begin(func() error {
		certificate, err := tls.LoadX509KeyPair(g.Hostile.Cert, g.Hostile.Key)
		if err != nil {
			return err
		}
		l, err := tls.Listen("tcp", g.Hostile.Address, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"simp"}})
		if err != nil {
			return err
		}
		g.site = &hostileSite{listener: l, domain: g.Hostile.Domain, tallies: map[string]*tally{}}
		context.AfterFunc(ctx, func() { _ = l.Close() })
		go g.site.serve(ctx)
		return nil
	})
	if err != nil {
		return err
	}
	g.site.mu.Lock()
	defer g.site.mu.Unlock()
	g.site.tallies[user] = t
	return nil
}

func (h *hostileSite) serve(ctx context.Context) {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return
		}
		context.AfterFunc(ctx, func() { _ = c.Close() })
		go h.talk(ctx, c)
	}
}

// talk is one connection of the site that is attacked.
func (h *hostileSite) talk(ctx context.Context, c net.Conn) {
	defer c.Close()
	r := &raw{Conn: c, in: bufio.NewReader(c)}
	if r.say("* HELLO version=SIMP/1.0 domain="+h.domain+"\r\n") != nil {
		return
	}
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if i := strings.LastIndex(line, " {"); i > 0 {
			var n int
			if _, err := fmt.Sscanf(line[i:], " {%d}", &n); err == nil {
				_, _ = r.in.Discard(n)
			}
		}
		if h.answer(ctx, r, line) != nil {
			return
		}
	}
}

// answer says what a site says, or goes on for ever.
func (h *hostileSite) answer(ctx context.Context, r *raw, line string) error {
	tag, rest, _ := strings.Cut(line, " ")
	verb, _, _ := strings.Cut(rest, " ")
	switch strings.ToUpper(verb) {
	case "HELLO":
		return r.say(tag + " 200 version=SIMP/1.0 domain=" + h.domain + " size=65536 idle=300 auth=EXTERNAL,DIALBACK history=h tls=on\r\n")
	case "AUTH", "MORE":
		return r.say(tag + " 200 domain=" + h.domain + "\r\n")
	case "SEND", "QUERY", "WATCH":
		for user, t := range h.known() {
			if strings.Contains(rest, "="+user+"@"+h.domain) {
				go h.harm(ctx, r, tag, user, rest, t)
				return nil
			}
		}
	case "200":
		return nil // of a PING that was never made
	}
	return r.say(tag + " 200\r\n")
}

func (h *hostileSite) known() map[string]*tally {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]*tally{}
	for user, t := range h.tallies {
		all[user] = t
	}
	return all
}

// harm answers without an end, or floods.
func (h *hostileSite) harm(ctx context.Context, r *raw, tag, user, request string, t *tally) {
	ima, n := user+"@"+h.domain, 0
	by := valueOf(request, "by")
	if user == floodUser {
		_ = r.say(fmt.Sprintf("%s 100 ima=%s state=busy since=2026-11-22T10:00:00.000Z index=1\r\n%s 200 index=1\r\n", tag, ima, tag))
	}
	_ = every(ctx, hostileRate, func() error {
		var lines strings.Builder
		for range hostileChunk {
			n++
			if user == endlessUser {
				fmt.Fprintf(&lines, "%s 100 to=%s ima=%s status=200 state=busy note=%d\r\n", tag, ima, ima, n)
			} else {
				fmt.Fprintf(&lines, "* PRESENCE ima=%s by=%s state=busy since=2026-11-22T10:00:00.000Z index=%d note=%d%s\r\n", ima, by, n+1, n, strings.Repeat("n", 200))
			}
		}
		t.add(hostileChunk)
		return r.say(lines.String())
	})
	t.tell("connection ended")
}

// valueOf is the first value of a key in a request.
func valueOf(request, key string) string {
	_, rest, _ := strings.Cut(request, " "+key+"=")
	value, _, _ := strings.Cut(rest, " ")
	return value
}
