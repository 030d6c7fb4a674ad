package federation_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/federation"
	"simpd/protocol/internal/outbound/outboundtest"
)

const wild = "9.0.2.66:7468" // where all domains of a wildcard are

// goWild is goAbroad with a site that all of *.evil.example leads to, which
// takes every proof and answers as the function says, and with two.example.
func goWild(t *testing.T, set func(*federation.Limits), answer func(verb, line string) string, f func(*abroad)) {
	t.Helper()
	goAbroad(t, func(a *abroad, c *federation.Config) {
		c.Resolver = wildcard{a}
		if set != nil {
			set(&a.limits)
		}
	}, func(a *abroad) {
		a.put(home, a.serve(always("200")))
		cert := a.issue(false, "*.evil.example")
		a.put(wild, func(p *outboundtest.Peer) {
			if welcome(p, cert) {
				p.AnswerAll(answer)
			}
		})
		f(a)
	})
}

// welcome plays a site up to the end of AUTH that takes anybody for anybody.
func welcome(p *outboundtest.Peer, cert tls.Certificate) bool {
	if p.Handshake(cert) != nil {
		return false
	}
	fmt.Fprint(p.Conn, "* HELLO version=SIMP/1.0\r\n")
	for _, answer := range []string{"200 version=SIMP/1.0 size=65536 auth=DIALBACK history=w", "101 data=" + base64.StdEncoding.EncodeToString(make([]byte, 16)), "200"} {
		line, err := p.Reader.ReadString('\n')
		if err != nil {
			return false
		}
		fmt.Fprintf(p.Conn, "%s %s\r\n", strings.Fields(line)[0], answer)
	}
	return true
}

// wildcard is DNS where every name below evil.example leads to one place, and
// every dead name to another.
type wildcard struct{ *abroad }

func (w wildcard) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if strings.HasSuffix(name, "evil.example") && service == "simps" {
		return "", []*net.SRV{{Target: "host." + name, Port: 7468}}, nil
	}
	return w.abroad.LookupSRV(ctx, service, proto, name)
}

func (w wildcard) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if strings.HasSuffix(host, "evil.example") {
		return []netip.Addr{netip.MustParseAddr("9.0.2.66")}, nil
	}
	if strings.HasPrefix(host, "dead") {
		return []netip.Addr{netip.MustParseAddr("9.0.2.7")}, nil
	}
	return w.abroad.LookupNetIP(ctx, network, host)
}

func (a *abroad) sends(from, to string, want protocol.Status) {
	a.t.Helper()
	if got := <-a.start(from, to, "m1", time.Second); got.Status != want {
		a.t.Errorf("%s to %s: %v, want %d", from, to, got, want)
	}
}

// A wildcard in DNS does not fill the table of other sites: the domains of one
// registrable domain have a share of it, and those that are idle make room.
func TestRelayTableHasShares(t *testing.T) {
	few := func(l *federation.Limits) { l.Domains = 64 }
	idle := always("200")
	busy := func(_, line string) string { return "100 " + strings.Fields(line)[2] + " state=away\n200 index=1" }
	t.Run("idle", func(t *testing.T) {
		goWild(t, few, idle, func(a *abroad) {
			for i := range 200 {
				a.sends(fmt.Sprintf("eve%d@one.example", i%20), fmt.Sprintf("x@w%d.evil.example", i), 200)
			}
			a.sends("alice@one.example", "bob@two.example", 200)
		})
	})
	t.Run("busy", func(t *testing.T) {
		goWild(t, few, busy, func(a *abroad) {
			var told watcher
			for i := range 200 {
				of := address(t, fmt.Sprintf("x@w%d.evil.example", i))
				a.relay.Watch(address(t, fmt.Sprintf("eve%d@one.example", i%2)), of, told.tell)
			}
			synctest.Wait()
			if n := strings.Count(told.heard(), "away"); n < 12 || n > 16 {
				t.Errorf("%d domains of 64 are watched for one registrable domain", n)
			}
			a.sends("eve1@one.example", "x@w199.evil.example", 429)
			a.sends("alice@one.example", "bob@two.example", 200)
		})
	})
}

// However many users fill the table, one who holds nothing is served; one who
// fills it alone gets a share, and then the places of what is idle of theirs.
func TestRelayTableServesNewcomers(t *testing.T) {
	few := func(l *federation.Limits) { l.Domains, l.Tried = 64, 1000 }
	goWild(t, few, always("200"), func(a *abroad) {
		a.put("9.0.2.7:7467", nil) // where the dead are: nobody answers
		refused := 0
		var waiting []<-chan protocol.Outcome
		for i := range 60 {
			waiting = append(waiting, a.start("eve@one.example", fmt.Sprintf("x@dead%d.example", i), "m", 10*time.Second))
		}
		for i := range 100 {
			waiting = append(waiting, a.start(fmt.Sprintf("eve%d@one.example", i), fmt.Sprintf("x@deadtoo%d.example", i), "m", 10*time.Second))
		}
		began := time.Now()
		a.sends("alice@one.example", "bob@two.example", 200)
		if time.Since(began) > 0 {
			t.Errorf("it took %v", time.Since(began))
		}
		for i, w := range waiting {
			if got := <-w; i < 60 && got.Status == 429 && got.Retry > 0 {
				refused++
			} else if got.Status != 504 {
				t.Errorf("%d: %v", i, got)
			}
		}
		if refused < 40 || refused > 50 {
			t.Errorf("%d of 60 were refused for one user", refused)
		}
	})
}

// What one user has sent that is not answered leaves room for others' messages
// to the same site.
func TestRelayUsersShareASite(t *testing.T) {
	goWild(t, nil, nil, func(a *abroad) {
		a.put(home, a.serve(func(_, line string) string {
			if strings.Contains(line, "to=mute@") {
				return ""
			}
			return "200"
		}))
		var waiting []<-chan protocol.Outcome
		for i := range 2000 {
			waiting = append(waiting, a.start("eve@one.example", "mute@two.example", fmt.Sprint("e", i), 60*time.Second))
		}
		time.Sleep(time.Second)
		began := time.Now()
		for i := range 500 {
			a.sends(fmt.Sprintf("u%d@one.example", i), "bob@two.example", 200)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("others waited %v", took)
		}
		count := map[protocol.Status]int{}
		for _, w := range waiting {
			got := <-w
			count[got.Status]++
			if got.Status == 429 && got.Retry == 0 {
				t.Fatalf("%+v does not say when to try again", got)
			}
		}
		if count[429] < 1000 || count[201] < 200 || count[201] > 300 || count[504] < 500 {
			t.Errorf("eve's: %v", count)
		}
	})
}

// What one user has under way with all other sites together is bounded in
// octets, and leaves room for others.
func TestRelayUsersShareMemory(t *testing.T) {
	small := func(l *federation.Limits) { l.Memory = 8 << 20 }
	goWild(t, small, always(""), func(a *abroad) {
		large := func(from, to string) <-chan protocol.Outcome {
			outcome := make(chan protocol.Outcome, 1)
			a.relay.Send(&protocol.Message{From: address(t, from), To: address(t, to), ID: "x", Entity: make([]byte, 60<<10), Deadline: time.Now().Add(10 * time.Second)},
				func(o protocol.Outcome) { outcome <- o })
			return outcome
		}
		var all []<-chan protocol.Outcome
		for i := range 100 {
			all = append(all, large("eve@one.example", fmt.Sprintf("x@w%d.evil.example", i%10)))
		}
		a.put(home, func(p *outboundtest.Peer) {
			if welcome(p, a.cert) {
				p.AnswerAll(always("200"))
			}
		})
		if got := <-large("alice@one.example", "bob@two.example"); got.Status != 200 {
			t.Errorf("another user: %v", got)
		}
		count := map[protocol.Status]int{}
		for _, w := range all {
			count[(<-w).Status]++
		}
		if count[429] < 60 || count[201] < 10 || count[429]+count[201] != 100 {
			t.Errorf("eve's: %v", count)
		}
		time.Sleep(time.Minute)
		if got := <-large("eve@one.example", "bob@two.example"); got.Status != 200 {
			t.Errorf("when all is answered: %v", got)
		}
	})
}

// Names that one wildcard makes up do not have the others' forgotten.
func TestNamesHaveShares(t *testing.T) {
	goWild(t, func(l *federation.Limits) { l.Tried = 1 << 20 }, always("200"), func(a *abroad) {
		a.put(wild, nil)
		delete(a.places, wild)
		a.sends("alice@one.example", "bob@two.example", 200)
		for i := range 12_000 {
			a.sends("eve@one.example", fmt.Sprintf("x@w%d.evil.example", i), 502)
		}
		asked := len(a.asked())
		a.put(home, nil)
		delete(a.places, home)
		if _, reached := a.relay.Diagnose(context.Background(), "three.example", "two.example"); reached {
			t.Error("it is gone")
		}
		if got := a.asked()[asked:]; !slices.Equal(got, []string{"two.example"}) {
			t.Errorf("asked %v", got)
		}
	})
}

// Dialbacks of one registrable domain take a share of the places for them.
func TestVerifyHasShares(t *testing.T) {
	nonce := make([]byte, 16)
	goWild(t, nil, always("403"), func(a *abroad) {
		a.put(wild, nil)
		refused := make(chan bool, 100)
		for i := range 100 {
			a.wg.Go(func() {
				err := a.relay.Verify(context.Background(), fmt.Sprintf("w%d.evil.example", i), "one.example", nonce, nil)
				var e *protocol.Error
				refused <- errors.As(err, &e) && e.Status == 429
			})
		}
		synctest.Wait()
		a.put(home, func(p *outboundtest.Peer) {
			if p.Handshake(a.cert) == nil {
				p.Say("* HELLO version=SIMP/1.0")
				p.Answer("HELLO version=SIMP/1.1", "200 version=SIMP/1.0 auth=PLAIN")
				p.Hear()
				_, _ = io.WriteString(p.Conn, "verify 200\r\n")
			}
		})
		if err := a.relay.Verify(context.Background(), "two.example", "one.example", nonce, nil); err != nil {
			t.Errorf("another's dialback: %v", err)
		}
		n := 0
		for range 100 {
			if <-refused {
				n++
			}
		}
		if n != 86 {
			t.Errorf("%d of 100 were refused", n)
		}
	})
}
