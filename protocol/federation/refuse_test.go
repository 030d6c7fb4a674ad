package federation_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound/outboundtest"
)

// refuse refuses a message to bob@two.example and returns its outcome.
func (a *abroad) refuse() protocol.Outcome {
	return a.refuseTo("bob@two.example", "\r\nhello")
}

func (a *abroad) refuseTo(to, entity string) protocol.Outcome {
	outcome := make(chan protocol.Outcome, 2)
	a.relay.Refuse(&protocol.Message{
		From: address(a.t, "alice@one.example"), To: address(a.t, to), ID: "m1", Entity: []byte(entity),
		Deadline: time.Now().Add(10 * time.Second),
	}, func(o protocol.Outcome) { outcome <- o })
	return <-outcome
}

// TestRefuseSendsNothing: a message that must not be sent ends as one to somebody
// who does not listen, once the other site has answered a question about them.
func TestRefuseSendsNothing(t *testing.T) {
	for answer, want := range map[string]protocol.Status{
		"100 ima=bob@two.example state=deaf\n200 index=5": 480, "100 ima=bob@two.example state=busy\n200": 480,
		"200": 480, "503 :cut off": 503, "429 retry=5": 429, "201": 201, "": 201,
	} {
		goAbroad(t, nil, func(a *abroad) {
			var heard atomic.Value
			a.put(home, a.serve(func(_, line string) string {
				heard.Store(line)
				return answer
			}))
			if got := a.refuse(); got.Status != want || want == 480 && got.Text != "bob@two.example is not listening" {
				t.Errorf("%q: %v, want %d", answer, got, want)
			}
			if line, _ := heard.Load().(string); !strings.Contains(line, "QUERY ima=bob@two.example fresh=yes by=alice@one.example") {
				t.Errorf("it said %q", line)
			}
		})
	}
}

// TestRefuseFailsAsSendDoes: where no answer comes, both say the same, after the
// same time.
func TestRefuseFailsAsSendDoes(t *testing.T) {
	for name, play := range map[string]func(p *outboundtest.Peer){
		"nobody is there":     nil,
		"it hangs up at once": func(p *outboundtest.Peer) { p.Conn.Close() },
		"it is of other words": func(p *outboundtest.Peer) {
			p.Say("* HTTP/1.1 400")
			_, _ = io.Copy(io.Discard, p.Conn) // until the relay hangs up: else it may find out first that the peer has
		},
	} {
		var said []string
		for _, try := range []func(a *abroad) protocol.Outcome{(*abroad).refuse, func(a *abroad) protocol.Outcome { return a.send("bob@two.example") }} {
			goAbroad(t, nil, func(a *abroad) {
				a.put(home, play)
				began := time.Now()
				o := try(a)
				said = append(said, fmt.Sprint(o, time.Since(began)))
			})
		}
		if said[0] != said[1] {
			t.Errorf("%s: a refusal says %s, a message %s", name, said[0], said[1])
		}
	}
}

// TestRefusalsLookLikeAnswers: the recipient is named as their site names them, and
// a message that their site would not take is too large.
func TestRefusalsLookLikeAnswers(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		a.put(home, a.serve(func(_, line string) string { return "100 ima=bob@two.example state=deaf\n200 index=5" }))
		if got := a.refuseTo("Bob@two.example", "\r\nhello"); got.Status != 480 || got.Text != "bob@two.example is not listening" {
			t.Errorf("got %v", got)
		}
		large := strings.Repeat("x", 1001) // size=1000
		if got := a.refuseTo("bob@two.example", large); got.Status != protocol.StatusTooLarge {
			t.Errorf("a large one: %v", got)
		}
		err := a.relay.Report(a.t.Context(), protocol.Report{
			By: address(t, "alice@one.example"), About: address(t, "bob@two.example"), Reason: protocol.ReportSpam, Entity: []byte(large),
		})
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Status != protocol.StatusTooLarge {
			t.Errorf("a large report: %v", err)
		}
	})
}
