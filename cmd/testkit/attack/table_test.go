package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every entry of the table says all that a reader and the verdict need.
func TestAttacks(t *testing.T) {
	seen, actors := map[string]bool{}, map[actor]bool{}
	for _, a := range attacks() {
		if a.name == "" || strings.ContainsAny(a.name, ", ") || seen[a.name] {
			t.Errorf("%q is no name, or another's", a.name)
		}
		seen[a.name], actors[a.actor] = true, true
		if a.does == "" || a.harms == "" || a.actor == "" || a.run == nil {
			t.Errorf("%s: something is missing", a.name)
		}
		if a.least <= 0 {
			t.Errorf("%s may do nothing and pass", a.name)
		}
	}
	for _, who := range []actor{stranger, user, otherSite, program, removedNode} {
		if !actors[who] {
			t.Errorf("no %s attacks", who)
		}
	}
}

func TestChoose(t *testing.T) {
	all := []attack{{name: "a"}, {name: "b"}, {name: "c"}}
	for names, want := range map[string]string{"": "abc", "none": "", "b": "b", "c,a": "ca", "a,d": "error", "d": "error"} {
		chosen, err := choose(all, names)
		got := ""
		for _, a := range chosen {
			got += a.name
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q chooses %q; want %q", names, got, want)
		}
	}
}

// A source is of the network that it is said to be of, and of as many as there are.
func TestSources(t *testing.T) {
	for name, c := range map[string]struct {
		of      func(i int) net.Addr
		network string
		many    int
	}{
		"honest": {honestSource, honestNetwork, 1000},
		"attack": {attackSource, attackNetwork, 250},
		"swarm":  {swarmSource, swarmNetwork, 250},
		"six":    {sixSource, attackSix, 70_000},
	} {
		_, network, err := net.ParseCIDR(c.network)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for i := range c.many {
			ip := c.of(i).(*net.TCPAddr).IP
			if !network.Contains(ip) {
				t.Fatalf("%s source %d is %v", name, i, ip)
			}
			seen[ip.String()] = true
		}
		if len(seen) != c.many {
			t.Errorf("%s has %d sources; want %d", name, len(seen), c.many)
		}
	}
}

// The words of a line are told without what follows it.
func TestRawReads(t *testing.T) {
	text := "* HELLO version=SIMP/1.0\r\n1 200 ima=a@b\r\nm1 MESSAGE from=a {7}\r\n\r\nhello2 429 retry=1\r\n* BYE status=400 :why {x}\r\n"
	c := raw{in: bufio.NewReader(strings.NewReader(text))}
	for _, want := range []string{"* HELLO", "1 200", "m1 MESSAGE", "2 429", "* BYE 400"} {
		tag, word, err := c.read()
		if got := tag + " " + word; err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

// Attackers who fail begin again, but not at once, and all stop when told to.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer stop()
		tl := &tally{}
		_ = crew(ctx, tl, 3, time.Second, func(context.Context, int) error {
			tl.add(1)
			return errors.New("read: connection reset by peer")
		})
		if c := tl.counts(); c.Tries != 33 || c.Told["reset by peer"] < 30 {
			t.Errorf("%v", c)
		}
	})
}

// An attack that ends before it is told to is none.
func TestEarlyEnd(t *testing.T) {
	for _, err := range []error{nil, errors.New("no way in")} {
		tl := &tally{}
		tl.end(t.Context(), err)
		if tl.counts().Err == "" {
			t.Errorf("ended with %v, and nothing is noted", err)
		}
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	tl := &tally{}
	if tl.end(over, context.Canceled); tl.counts().Err != "" {
		t.Error("it ended when it was told to")
	}
}
