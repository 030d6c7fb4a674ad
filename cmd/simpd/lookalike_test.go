package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"simpd/cluster/ratelimit"
	"slices"
	"sync"
	"testing"
	"time"

	"simpd/cmd/testkit/world"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/rate"
)

// timed is how long some things took.
type timed []time.Duration

func (d timed) mean() float64 {
	sum := 0.0
	for _, x := range d {
		sum += float64(x)
	}
	return sum / float64(len(d))
}

func (d timed) variance() float64 {
	m, sum := d.mean(), 0.0
	for _, x := range d {
		sum += (float64(x) - m) * (float64(x) - m)
	}
	return sum / float64(len(d)-1)
}

func (d timed) at(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// welch is how far two samples are apart, in standard errors.
func welch(a, b timed) float64 {
	return math.Abs(a.mean()-b.mean()) / math.Sqrt(a.variance()/float64(len(a))+b.variance()/float64(len(b)))
}

// A stranger can't tell by the clock why they are refused, nor that an operator
// blocks them. What the slowest tenth took says more of the machine than of the
// site, and is left out. go test -v prints the numbers.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", func(c *config) {
		c.limits.site = ratelimit.Limits{} // the stranger sends more than one may
	})
	_, blocking := one.login("quiet"), one.login("blocking")
	blocking.listen()
	pattern, err := protocol.ParsePattern("@two.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := blocking.SetRule(t.Context(), protocol.Rule{Who: pattern, Message: protocol.Deny}); err != nil {
		t.Fatal(err)
	}
	k := one.enters(g.issue(world.Order{Names: []string{"two.example"}}), "two.example")
	one.login("open").listen()
	one.block("out@two.example")
	users := []string{"quiet", "blocking", "nobody", "open"}
	from := map[string]string{"quiet": "eve", "blocking": "eve", "nobody": "eve", "open": "out"} // whom an operator blocks
	took := map[string]timed{}
	for i := range 1000 {
		for j := range users { // in turn, and each first as often as the others
			user := users[(i+j)%len(users)]
			request := "SEND from=" + from[user] + "@two.example to=" + user + "@one.example {2}\r\nhi"
			began := time.Now()
			k.answers(request, "480")
			took[user] = append(took[user], time.Since(began))
		}
	}
	sameTime(t, users, took)
}

// pesters sends messages from many sides at once to where none arrives, until
// it is stopped.
func (p *person) pesters(to protocol.Address, sides int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range sides {
		all.Go(func() {
			pace := time.NewTicker(100 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				report, err := p.Send(ctx, client.Message{To: []protocol.Address{to}, Entity: client.Text("hello?")})
				if err == nil && report.Status == protocol.StatusOK {
					p.globe.Errorf("delivered to %s", to)
				}
				select {
				case <-pace.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return func() { cancel(); join(p.globe.T, "who pesters stops", &all) }
}

// A site that swallows connections costs local users and other sites
// nothing. With SIMPD_MEASURE the numbers are printed.
func TestBlackHoleCostsNobody(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", func(c *config) {
		c.federation.routes["black.example"] = protocol.ByDNS
		c.limits.site[ratelimit.MessagesByUser] = rate.Limit{} // alice sends more of them than a user usually may
	})
	two := g.site("two.example", nil)
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close() // nobody accepts: the kernel does, and says nothing
	g.name("black.example", "simp", hole.Addr())
	alice, carol, bob, victim := one.login("alice"), one.login("carol"), two.login("bob"), one.login("victim")
	carol.listen()
	bob.listen()
	measure := func(to protocol.Address, drain <-chan *protocol.Message) (took timed) {
		for range 1000 {
			began := time.Now()
			if got := alice.says(to, "hello"); got.Status != protocol.StatusOK {
				t.Fatalf("%v", got)
			}
			took = append(took, time.Since(began))
			receive(t, "a message", drain)
		}
		return took
	}
	alice.says(bob.User(), "first") // makes the connection
	receive(t, "the first message", bob.messages)
	local, across := measure(carol.User(), carol.messages), measure(bob.User(), bob.messages)
	stop := victim.pesters(mustAddress(t, "x@black.example"), 200)
	localThen, acrossThen := measure(carol.User(), carol.messages), measure(bob.User(), bob.messages)
	stop()
	if os.Getenv("SIMPD_MEASURE") != "" {
		fmt.Printf("p99 of local messages: %v before, %v with the black hole (× %.2f)\n", local.at(0.99), localThen.at(0.99), float64(localThen.at(0.99))/float64(local.at(0.99)))
		fmt.Printf("p99 of messages to another site: %v before, %v with the black hole (× %.2f)\n", across.at(0.99), acrossThen.at(0.99), float64(acrossThen.at(0.99))/float64(across.at(0.99)))
	}
	if localThen.at(0.5) > 3*local.at(0.5)+time.Millisecond || acrossThen.at(0.5) > 3*across.at(0.5)+time.Millisecond {
		t.Errorf("the median rose from %v and %v to %v and %v", local.at(0.5), across.at(0.5), localThen.at(0.5), acrossThen.at(0.5))
	}
}
