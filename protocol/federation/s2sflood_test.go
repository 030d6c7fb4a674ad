package federation_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound/outboundtest"
)

// 100 lines that were not asked for end the connection: what was handed over is
// in doubt, what was not is not delivered.
func TestRelayIsAnsweredTooMuch(t *testing.T) {
	long := strings.Repeat(" a=", 1300)
	for name, line := range map[string]string{
		"of the message": "100 to=bob@two.example status=480", "long": "100" + long, "empty": "100",
	} {
		t.Run(name, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				said := make(chan int, 1)
				a.put(home, func(p *outboundtest.Peer) {
					a.admit(p)
					tag, _, _ := strings.Cut(p.Hear(), " ")
					said <- p.Flood(tag+" "+line+"\r\n", 10_000)
				})
				var all []<-chan protocol.Outcome
				for i := range 300 {
					all = append(all, a.start("alice@one.example", "bob@two.example", fmt.Sprint("m", i), 10*time.Second))
				}
				if n := <-said; n > 2 {
					t.Errorf("%d lines were taken", n)
				}
				count := map[protocol.Status]int{}
				for _, w := range all {
					count[(<-w).Status]++
				}
				if count[201] != 225 || count[502] != 75 {
					t.Errorf("%v", count)
				}
			})
		})
	}
}

// An answer about one address has one line about it, once, in any order.
func TestRelayWatchAnswers(t *testing.T) {
	const bob, carol = "100 ima=bob@two.example state=busy\n", "100 ima=carol@two.example state=away\n"
	for name, c := range map[string]struct{ answer, want string }{
		"in order":     {bob + carol + "200", "bob busy carol away"},
		"turned round": {carol + bob + "200", "bob busy carol away"},
		"one missing":  {carol + "200", "bob unknown carol away"},
		"twice":        {bob + bob + "200", "bob unknown carol unknown"},
		"one more":     {bob + carol + "100 ima=dave@two.example state=busy\n200", "bob unknown carol unknown"},
		"a stranger":   {"100 ima=bob@three.example state=busy\n" + carol + "200", "bob unknown carol away"},
		"other case":   {"100 ima=BOB@two.example state=busy\n" + carol + "200", "bob busy carol away"},
	} {
		t.Run(name, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				ready := make(chan bool)
				a.put(home, func(p *outboundtest.Peer) {
					<-ready
					a.admit(p)
					p.AnswerAll(func(verb, line string) string {
						if strings.Index(line, "ima=bob") > strings.Index(line, "ima=carol") {
							return "503" // the order of what is asked is not given; it is asked for again
						}
						return c.answer
					})
				})
				states := map[string]protocol.State{}
				tell := func(p protocol.Presence) { states[p.Address.Local()] = p.State }
				for _, of := range []string{"bob@two.example", "carol@two.example"} {
					a.relay.Watch(address(t, "alice@one.example"), address(t, of), tell)
				}
				close(ready)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if got := fmt.Sprint("bob ", states["bob"], " carol ", states["carol"]); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

// Presence that is watched is read as fast as a busy site changes, and no
// faster: a flood costs the time of a few hundred lines a second. Messages to
// other sites do not notice.
func TestRelayReadsFloodsSlowly(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		var w watcher
		a.relay.Watch(address(t, "alice@one.example"), address(t, "bob@two.example"), w.tell)
		w.hears(t, "bob@two.example available")
		s.mu.Lock()
		for i := range 20_000 {
			fmt.Fprintf(s.here.Conn, "* PRESENCE ima=bob@two.example state=%s index=%d by=alice@one.example\r\n", []string{"busy", "away"}[i%2], 10+i)
		}
		s.mu.Unlock()
		time.Sleep(15 * time.Second)
		if got := w.heard(); strings.Count(got, ",") > 18_000 {
			t.Errorf("told %d times in 15 s", strings.Count(got, ","))
		}
		time.Sleep(10 * time.Second)
		if got := w.heard(); !strings.HasSuffix(got, "bob@two.example away") {
			t.Errorf("in the end %.100q", got)
		}
	})
}
