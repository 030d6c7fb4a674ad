package federation_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound/outboundtest"
)

// Once a message was handed over, the other site's word counts where it can be
// understood, and else the message is in doubt.
func TestRelayAnswers(t *testing.T) {
	for answer, want := range map[string]protocol.Status{
		"200 id=m1 :delivered": 200, "200": 200, "201 id=m1": 201, "480 id=m1 :bob is not listening": 480, "481": 481, "486 :no": 486,
		"404 :nobody": 404, "409": 409, "413": 413, "429 retry=60": 429, "500": 500, "503 :cut off": 503, "502": 502, "504": 504,
		"200 id=m2": 201, "207 id=m1": 201, "202": 201, "302 :elsewhere": 201, "999": 201, "20": 201, "200 id": 201, "100 status=200": 201, "": 201, "SEND ok": 201,
		"200 {3}": 201,
	} {
		t.Run(answer, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				a.put(home, a.serve(always(answer)))
				if got := a.send("bob@two.example"); got.Status != want {
					t.Errorf("%v, want %d", got, want)
				}
			})
		})
	}
}

// TestRelayPassesOnWhenToTryAgain: what another site says of that with a 429 goes
// to the sender, within bounds.
func TestRelayPassesOnWhenToTryAgain(t *testing.T) {
	for answer, want := range map[string]int{
		"429 retry=60": 60, "429 id=m1 retry=1 :slow down": 1, "429": 0, "429 retry=": 0, "429 retry=-5": 0, "429 retry=soon": 0,
		"429 retry=86400": 3600, "429 retry=99999999999999999999999": 3600, "480 retry=7": 0,
	} {
		t.Run(answer, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				a.put(home, a.serve(always(answer)))
				if got := a.send("bob@two.example"); got.Retry != want {
					t.Errorf("%+v, want retry=%d", got, want)
				}
			})
		})
	}
}

func TestRelayLosesTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		play func(p *outboundtest.Peer)
		want protocol.Status
	}{
		"within the message":   {func(p *outboundtest.Peer) { _, _ = io.CopyN(io.Discard, p.Reader, 80) }, 201},
		"after the message":    {func(p *outboundtest.Peer) { p.Hear(); p.Body("\r\nhello") }, 201},
		"with BYE":             {func(p *outboundtest.Peer) { p.Hear(); p.Body("\r\nhello"); p.Say("* BYE status=503 :bye") }, 201},
		"with a torn line":     {func(p *outboundtest.Peer) { p.Hear(); p.Body("\r\nhello"); p.Conn.Write([]byte("1 200 id=m")) }, 201},
		"with a bare line end": {func(p *outboundtest.Peer) { p.Hear(); p.Body("\r\nhello"); p.Conn.Write([]byte("1 200\n")); p.Gone() }, 201},
	} {
		t.Run(name, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				a.put(home, func(p *outboundtest.Peer) { a.admit(p); c.play(p) })
				if got := a.send("bob@two.example"); got.Status != c.want {
					t.Errorf("%v, want %d", got, c.want)
				}
			})
		})
	}
}

// The time left travels with a message, which is answered for in time, even if
// the other site never does, and whose answer is not waited for by others.
func TestRelayIsNotAnswered(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		var first string
		a.put(home, a.serve(func(verb, line string) string {
			if strings.Contains(line, "id=m1") {
				first = line
				return ""
			}
			return "200"
		}))
		began := time.Now()
		slow := a.start("alice@one.example", "bob@two.example", "m1", 7*time.Second)
		if got := <-a.start("alice@one.example", "bob@two.example", "m2", 7*time.Second); got.Status != 200 || time.Since(began) > time.Second {
			t.Errorf("another message: %v after %v", got, time.Since(began))
		}
		if got := <-slow; got.Status != 201 || time.Since(began) > 8*time.Second {
			t.Errorf("%v after %v", got, time.Since(began))
		}
		if want := "SEND from=alice@one.example to=bob@two.example id=m1 timeout=7 {7}"; !strings.Contains(first, want) {
			t.Errorf("it said %q, not %q", first, want)
		}
	})
}

// A site that answers nothing at all is hung up on, and then left alone for a
// while; what is sent meanwhile is answered at once.
func TestRelayRests(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		a.put(home, a.serve(always("")))
		if got := <-a.start("alice@one.example", "bob@two.example", "m1", 2*time.Second); got.Status != 201 {
			t.Errorf("%v", got)
		}
		time.Sleep(4710 * time.Millisecond) // until it is hung up on, 5 s after its time
		began, dials := time.Now(), a.dials()
		if got := a.send("bob@two.example"); got.Status != 502 || time.Since(began) != 0 || a.dials() != dials {
			t.Errorf("at rest: %v after %v, %d dials more", got, time.Since(began), a.dials()-dials)
		}
		time.Sleep(time.Second)
		a.put(home, a.serve(always("200")))
		if got := a.send("bob@two.example"); got.Status != 200 {
			t.Errorf("after the rest: %v", got)
		}
	})
}

// Messages to one recipient arrive in the order sent, those among them that
// waited for the connection.
func TestRelayKeepsOrder(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		var order []string
		a.put(home, a.serve(func(_, line string) string {
			_, rest, _ := strings.Cut(line, "id=")
			id, _, _ := strings.Cut(rest, " ")
			order = append(order, id)
			return "200"
		}))
		var all []<-chan protocol.Outcome
		var want []string
		for i := range 2000 {
			want = append(want, fmt.Sprint("m", i))
			all = append(all, a.start("alice@one.example", "bob@two.example", want[i], 10*time.Second))
			if i%800 == 799 {
				synctest.Wait()
			}
		}
		for i, w := range all {
			if got := <-w; got.Status != 200 {
				t.Fatalf("%d: %v", i, got)
			}
		}
		if fmt.Sprint(order) != fmt.Sprint(want) {
			t.Error("they came in another order")
		}
	})
}

// What the operator does not admit is not tried, and ends when it is no more
// admitted.
func TestRelayPolicy(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		a.put(home, a.serve(always("200")))
		for _, p := range []protocol.Policy{
			{Mode: protocol.Closed}, {Block: map[string]bool{"two.example": true}}, {Mode: protocol.AllowListed, Allow: map[string]bool{"three.example": true}},
		} {
			a.rules.Default = p
			if got := a.send("bob@two.example"); got.Status != 403 || a.dials() > 0 {
				t.Errorf("%+v: %v, %d dials", p, got, a.dials())
			}
		}
		a.rules = protocol.Federation{Default: protocol.Policy{Mode: protocol.Closed}, Domains: map[string]protocol.Policy{"one.example": {}}}
		if got := a.send("bob@two.example"); got.Status != 200 {
			t.Errorf("allowed for that domain: %v", got)
		}
		a.rules = protocol.Federation{Default: protocol.Policy{Mode: protocol.Closed}}
		a.relay.Revalidate()
		if got := a.send("bob@two.example"); got.Status != 403 {
			t.Errorf("after the change: %v", got)
		}
	})
}

// A connection is probed when it is silent, and closed when it is not used.
func TestRelayIdles(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		var verbs []string
		a.put(home, func(p *outboundtest.Peer) {
			a.admit(p)
			p.AnswerAll(func(verb, _ string) string { verbs = append(verbs, verb); return "200" })
		})
		if got := a.send("bob@two.example"); got.Status != 200 {
			t.Errorf("%v", got)
		}
		time.Sleep(4 * time.Minute)
		if got := a.send("bob@two.example"); got.Status != 200 || a.dials() != 1 {
			t.Errorf("%v after %d dials", got, a.dials())
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if got := fmt.Sprint(verbs); got != "[SEND SEND QUIT]" {
			t.Errorf("it was asked %s", got)
		}
		if got := a.send("bob@two.example"); got.Status != 200 || a.dials() != 2 {
			t.Errorf("%v after %d dials", got, a.dials())
		}
	})
}

// Who says on and on what nobody asked for is hung up on.
func TestRelayIsFlooded(t *testing.T) {
	for name, line := range map[string]string{"answers": "x 200\r\n", "requests": "* PRESENCE ima=bob@two.example state=busy by=alice@one.example\r\n", "junk": "1 =\r\n"} {
		t.Run(name, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				ended := make(chan bool, 1)
				a.put(home, func(p *outboundtest.Peer) {
					a.admit(p)
					p.Answer("SEND from=alice@one.example to=bob@two.example id=m1 timeout=10 {7}", "200")
					for range 100_000 {
						if _, err := io.WriteString(p.Conn, line); err != nil {
							ended <- true
							return
						}
						synctest.Wait()
					}
					ended <- false
				})
				if got := a.send("bob@two.example"); got.Status != 200 {
					t.Errorf("%v", got)
				}
				if !<-ended {
					t.Error("nobody minded")
				}
			})
		})
	}
}

// A proof is asked of the home server of the domain that claims it, and no
// other answer than 200 is one.
func TestRelayVerifies(t *testing.T) {
	nonce, data := []byte("0123456789abcdef"), []byte("proof")
	b := base64.StdEncoding.EncodeToString
	request := "VERIFY domain=one.example caller=two.example nonce=" + b(nonce) + " data=" + b(data)
	for answer, want := range map[string]protocol.Status{"200": 0, "403 :no": 401, "503 :later": 502, "201": 502, "101 data=": 502, "299": 502} {
		t.Run(answer, func(t *testing.T) {
			goAbroad(t, nil, func(a *abroad) {
				a.put(home, func(p *outboundtest.Peer) {
					if p.Handshake(a.cert) != nil {
						return
					}
					p.Say("* HELLO version=SIMP/1.0")
					p.Answer("HELLO version=SIMP/1.1", "200 version=SIMP/1.0 auth=PLAIN")
					p.Answer(request, answer)
				})
				err := a.relay.Verify(context.Background(), "two.example", "one.example", nonce, data)
				var refused *protocol.Error
				if errors.As(err, &refused); (refused == nil) != (want == 0) || refused != nil && refused.Status != want {
					t.Errorf("%v, want %d", err, want)
				}
			})
		})
	}
}

// A host that has no certificate of the domain's is not its home server: that
// is a proof that fails, unlike one that can't be asked for.
func TestRelayVerifiesByCertificate(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		a.put(home, func(p *outboundtest.Peer) { _ = p.Handshake(a.issue(false, "three.example")) })
		err := a.relay.Verify(context.Background(), "two.example", "one.example", []byte("0123456789abcdef"), []byte("proof"))
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Status != protocol.StatusUnauthorized {
			t.Errorf("%v, want 401", err)
		}
	})
}
