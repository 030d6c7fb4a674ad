package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/policy"
	"simpd/protocol"
)

// program is the operator's, in memory.
type program struct {
	mu     sync.Mutex
	asked  []policy.Question
	takes  time.Duration
	answer func(q *policy.Question) (policy.Answer, error)
}

func (p *program) Ask(ctx context.Context, q *policy.Question) (policy.Answer, error) {
	p.mu.Lock()
	p.asked = append(p.asked, *q)
	takes, answer := p.takes, p.answer
	p.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return policy.Answer{}, ctx.Err()
	}
	return answer(q)
}

func (p *program) Close() error { return nil }

func (p *program) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

func answering(v policy.Verdict) func(*policy.Question) (policy.Answer, error) {
	return func(*policy.Question) (policy.Answer, error) { return policy.Answer{Verdict: v}, nil }
}

// asking gives the node a program.
func (n *node) asking(p *program, c policy.Config) {
	c.Asker = p
	n.config.Policy = policy.New(c)
}

func (c *client) sendTo(to string, timeout time.Duration) (o protocol.Outcome, took time.Duration) {
	got, began := make(chan protocol.Outcome, 1), time.Now()
	c.Connection.Send(&protocol.SendRequest{
		From: addr("eve@two.example"), To: []protocol.Address{addr(to)}, ID: fmt.Sprint(began.UnixNano()), Received: began, Timeout: timeout,
		Entity: []byte("\r\nhello"), Done: func(_ int, o protocol.Outcome) { got <- o },
	})
	return <-got, time.Since(began)
}

func withPolicy(t *testing.T, p *program, c policy.Config, f func(s *site, alice, bob *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.nodes["n1"].asking(p, c)
		alice, bob := s.listen("alice", "n1"), s.listen("bob", "n1")
		f(s, alice, bob)
		alice.Close()
		bob.Close()
	})
}

func TestWhatThePolicyProgramSaysIsDone(t *testing.T) {
	for verdict, want := range map[policy.Verdict]protocol.Status{
		policy.Pass: 200, policy.NotListening: 480, policy.Refused: 486, policy.SlowDown: 429,
	} {
		p := &program{takes: 5 * time.Millisecond, answer: func(*policy.Question) (policy.Answer, error) {
			return policy.Answer{Verdict: verdict, Retry: 7 * time.Second}, nil
		}}
		withPolicy(t, p, policy.Config{}, func(s *site, alice, bob *client) {
			o, _ := alice.sendTo("bob@example.com", 10*time.Second)
			if o.Status != want || want == 429 && o.Retry != 7 {
				t.Errorf("verdict %d: %+v", verdict, o)
			}
			if got := len(bob.received()); got > 0 != (want == 200) {
				t.Errorf("verdict %d: %d came", verdict, got)
			}
			alice.sendTo("bob@example.com", 10*time.Second)
			if asked := p.count(); (asked == 1) != (verdict == policy.Pass) {
				t.Errorf("verdict %d: asked %d times", verdict, asked)
			}
			q := p.asked[0]
			if q.From != addr("alice@example.com") || q.To != addr("bob@example.com") || !q.FirstContact || q.Signature != policy.Unsigned || q.Entity != nil {
				t.Errorf("asked %+v", q)
			}
		})
	}
}

// Who is refused can't tell it from a recipient who does not listen: the same
// text, the same look-ups, the same time.
func TestNotListeningByPolicyLooksLikeDeaf(t *testing.T) {
	p := &program{takes: 20 * time.Millisecond, answer: func(q *policy.Question) (policy.Answer, error) {
		if q.To == addr("bob@example.com") {
			return policy.Answer{Verdict: policy.NotListening, TTL: time.Minute}, nil
		}
		return policy.Answer{Verdict: policy.Pass, TTL: time.Minute}, nil
	}}
	withPolicy(t, p, policy.Config{}, func(s *site, alice, bob *client) {
		for round := range 3 {
			asked := s.nodes["n1"].asked
			refused, tookRefused := alice.sendTo("bob@example.com", 10*time.Second)
			if s.nodes["n1"].asked != asked+1 {
				t.Error("no confirmed look-up was made")
			}
			deaf, tookDeaf := alice.sendTo("carol@example.com", 10*time.Second)
			if refused.Status != 480 || refused.Status != deaf.Status || refused.Text != "bob@example.com is not listening" || deaf.Text != "carol@example.com is not listening" {
				t.Errorf("%+v, and deaf %+v", refused, deaf)
			}
			if tookRefused != tookDeaf {
				t.Errorf("round %d: refused after %v, deaf after %v", round, tookRefused, tookDeaf)
			}
		}
	})
}

// Who is refused by a rule gets whatever the program makes of a message to a
// recipient who does not listen, after the same time and as many questions.
func TestThePolicyProgramDoesNotTellRefusedFromDeaf(t *testing.T) {
	for name, c := range map[string]struct {
		answer policy.Answer
		err    error
		closed bool
		want   protocol.Status
	}{
		"pass":         {answer: policy.Answer{Verdict: policy.Pass}, want: 480},
		"pass for now": {answer: policy.Answer{Verdict: policy.Pass, TTL: time.Minute}, want: 480},
		"hidden":       {answer: policy.Answer{Verdict: policy.NotListening}, want: 480},
		"slow down":    {answer: policy.Answer{Verdict: policy.SlowDown}, want: 429},
		"refused":      {answer: policy.Answer{Verdict: policy.Refused}, want: 486},
		"fails open":   {err: errors.New("connection refused"), want: 480},
		"fails closed": {err: errors.New("connection refused"), closed: true, want: 503},
	} {
		t.Run(name, func(t *testing.T) {
			p := &program{takes: 20 * time.Millisecond, answer: func(*policy.Question) (policy.Answer, error) { return c.answer, c.err }}
			withPolicy(t, p, policy.Config{FailClosed: c.closed}, func(s *site, alice, bob *client) {
				deny, _ := protocol.ParsePattern("alice@example.com")
				if err := bob.SetRule(s.t.Context(), protocol.Rule{Who: deny, Message: protocol.Deny}); err != nil {
					t.Fatal(err)
				}
				for round := range 2 { // before the breaker opens
					before := p.count()
					refused, took := alice.sendTo("bob@example.com", 10*time.Second)
					questions := p.count() - before
					deaf, tookDeaf := alice.sendTo("carol@example.com", 10*time.Second)
					if refused.Status != c.want || deaf.Status != c.want || took != tookDeaf || p.count()-before != 2*questions {
						t.Errorf("round %d: refused %d after %v with %d questions, deaf %d after %v", round, refused.Status, took, questions, deaf.Status, tookDeaf)
					}
				}
				if len(bob.received()) > 0 {
					t.Error("a refused message came")
				}
			})
		})
	}
}

// What passes only because the program did not answer is asked about again.
func TestAMessageThatPassedWithoutAnAnswerEstablishesNothing(t *testing.T) {
	p := &program{answer: func(*policy.Question) (policy.Answer, error) { return policy.Answer{}, errors.New("starting") }}
	withPolicy(t, p, policy.Config{}, func(s *site, alice, bob *client) {
		if o, _ := alice.sendTo("bob@example.com", 10*time.Second); o.Status != protocol.StatusOK {
			t.Fatalf("%+v", o)
		}
		p.answer = answering(policy.Refused)
		if o, _ := alice.sendTo("bob@example.com", 10*time.Second); o.Status != protocol.StatusRefused || p.count() != 2 {
			t.Errorf("%+v, asked %d times", o, p.count())
		}
	})
}

// As long as nobody is there, a message that passes costs a question like one
// that is hidden.
func TestDeafAndHiddenByPolicyTakeAsLongEachTime(t *testing.T) {
	p := &program{takes: 20 * time.Millisecond, answer: func(q *policy.Question) (policy.Answer, error) {
		if q.To == addr("bob@example.com") {
			return policy.Answer{Verdict: policy.NotListening}, nil
		}
		return policy.Answer{Verdict: policy.Pass}, nil
	}}
	withPolicy(t, p, policy.Config{}, func(s *site, alice, bob *client) {
		for round := range 3 {
			hidden, tookHidden := alice.sendTo("bob@example.com", 10*time.Second)
			deaf, tookDeaf := alice.sendTo("carol@example.com", 10*time.Second)
			if hidden.Status != 480 || deaf.Status != 480 || tookHidden != tookDeaf {
				t.Errorf("round %d: hidden %d after %v, deaf %d after %v", round, hidden.Status, tookHidden, deaf.Status, tookDeaf)
			}
		}
		carol := s.listen("carol", "n1")
		defer carol.Close()
		before := p.count()
		for range 3 {
			if o, _ := alice.sendTo("carol@example.com", 10*time.Second); o.Status != 200 {
				t.Errorf("%+v", o)
			}
		}
		if asked := p.count() - before; asked != 1 {
			t.Errorf("asked %d times about a recipient who listens", asked)
		}
	})
}

// A message whose recipient comes while an earlier one waits for its look-up
// stays behind that.
func TestAPassedMessageDoesNotOvertakeOneThatWaitsForItsLookup(t *testing.T) {
	var comes func()
	p := &program{answer: func(q *policy.Question) (policy.Answer, error) {
		if string(q.Entity) == "second" {
			comes()
		}
		return policy.Answer{Verdict: policy.Pass}, nil
	}}
	p.takes = 10 * time.Millisecond
	withPolicy(t, p, policy.Config{Entity: true}, func(s *site, alice, bob *client) {
		carol := s.login("carol", "n1")
		defer carol.Close()
		comes = func() { carol.mustListen(t, protocol.ListenRequest{State: protocol.Available}) }
		var done sync.WaitGroup
		send := func(id string) {
			done.Add(1)
			alice.Connection.Send(&protocol.SendRequest{
				To: []protocol.Address{addr("carol@example.com")}, ID: id, Received: time.Now(), Timeout: 10 * time.Second, Entity: []byte(id),
				Done: func(int, protocol.Outcome) { done.Done() },
			})
		}
		barrier := make(chan struct{})
		s.nodes["n1"].holdBarrier(barrier)
		send("zeroth") // its look-up is held, so that the next two are judged together
		synctest.Wait()
		time.Sleep(20 * time.Millisecond)
		send("first")
		send("second")
		close(barrier)
		done.Wait()
		if got := fmt.Sprint(carol.received()); got != "[first second]" {
			t.Errorf("came: %v", got)
		}
	})
}

// A program that is stopped, slow, or lies makes no false outcome.
func TestAPolicyProgramThatFails(t *testing.T) {
	for name, answer := range map[string]func(*policy.Question) (policy.Answer, error){
		"stopped": func(*policy.Question) (policy.Answer, error) {
			return policy.Answer{}, errors.New("connection refused")
		},
		"slow":         func(*policy.Question) (policy.Answer, error) { time.Sleep(time.Hour); panic("unreached") },
		"lies":         answering(77),
		"says nothing": answering(0),
	} {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, closed: %v", name, closed), func(t *testing.T) {
				p := &program{answer: answer}
				if name == "slow" {
					p.takes = time.Hour
				}
				withPolicy(t, p, policy.Config{FailClosed: closed}, func(s *site, alice, bob *client) {
					want := protocol.StatusOK
					if closed {
						want = protocol.StatusUnavailable
					}
					for range 20 {
						o, took := alice.sendTo("bob@example.com", time.Second)
						if o.Status != want || took > policy.DefaultBudget {
							t.Errorf("%+v after %v", o, took)
						}
					}
					if asked := p.count(); closed && (asked < 5 || asked > 8) {
						t.Errorf("asked %d times", asked)
					}
				})
			})
		}
	}
}

// A message with little time is not held longer.
func TestThePolicyProgramDoesNotHoldMessagesBeyondTheirTime(t *testing.T) {
	p := &program{takes: 150 * time.Millisecond, answer: answering(policy.Pass)}
	withPolicy(t, p, policy.Config{}, func(s *site, alice, bob *client) {
		o, took := alice.sendTo("bob@example.com", 100*time.Millisecond)
		if o.Status != protocol.StatusUnavailable || took > 100*time.Millisecond || len(bob.received()) > 0 {
			t.Errorf("%+v after %v", o, took)
		}
	})
}

// Messages of one connection keep their order while the program is asked.
func TestOrderIsKeptWhileThePolicyProgramIsAsked(t *testing.T) {
	for _, all := range []bool{false, true} {
		p := &program{takes: 10 * time.Millisecond, answer: answering(policy.Pass)}
		withPolicy(t, p, policy.Config{All: all}, func(s *site, alice, bob *client) {
			var done sync.WaitGroup
			for i := range 50 {
				done.Add(1)
				alice.Connection.Send(&protocol.SendRequest{
					To: []protocol.Address{addr("bob@example.com")}, ID: fmt.Sprintf("%03d", i), Received: time.Now(), Timeout: 10 * time.Second,
					Done: func(_ int, o protocol.Outcome) {
						if o.Status != protocol.StatusOK {
							t.Errorf("%d: %+v", i, o)
						}
						done.Done()
					},
				})
			}
			done.Wait()
			for i, id := range bob.received() {
				if id != fmt.Sprintf("%03d", i) {
					t.Fatalf("all %v: message %d is %s", all, i, id)
				}
			}
			if n := p.count(); all != (n == 50) || !all && n != 1 {
				t.Errorf("all %v: asked %d times", all, n)
			}
		})
	}
}

// Other sites' users are asked about at the recipient's home.
func TestStrangersAreAskedAbout(t *testing.T) {
	p := &program{answer: answering(policy.Refused)}
	withPolicy(t, p, policy.Config{Entity: true}, func(s *site, alice, bob *client) {
		two := s.routing("two.example", "n1")
		defer two.Close()
		if o, _ := two.sendTo("bob@example.com", 10*time.Second); o.Status != protocol.StatusRefused || string(p.asked[0].Entity) != "\r\nhello" {
			t.Errorf("%+v", o)
		}
		if o, _ := two.sendTo("nobody@example.com", 10*time.Second); o.Status != protocol.StatusRefused {
			t.Errorf("who is nobody can be told: %+v", o)
		}
	})
}
