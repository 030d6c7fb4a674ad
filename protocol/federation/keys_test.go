package federation_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/federation"
	"simpd/protocol/internal/outbound/outboundtest"
	"simpd/protocol/signature"
)

// A list of keys arrives as it was sent, and its head fits. The site is asked
// for the local user.
func TestKeysOfAnotherSite(t *testing.T) {
	goAbroad(t, nil, func(a *abroad) {
		first := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		public := first.Public().(ed25519.PublicKey)
		k := signature.Key{
			ID: signature.KeyID(public), Key: public, Name: "a b", Created: time.Date(2026, 11, 30, 12, 0, 0, 1e6, time.UTC), AddedAs: 1,
			Revoked: time.Date(2026, 11, 30, 13, 0, 0, 0, time.UTC), RevokedBy: signature.ByOperator, RevokedAs: 2, Index: 7,
		}
		head := signature.Head{}.NextAfterAdding("bob@two.example", &k).NextAfterRevoking("bob@two.example", &k)
		var asked string
		a.put(home, a.serve(func(_, line string) string {
			asked = line
			return fmt.Sprintf(`100 kid=%s key=%s created=2026-11-30T12:00:00.001Z name="a b" by=operator record=1 revoked=2026-11-30T13:00:00Z revocation=2 index=7`+
				"\n200 head=%s", k.ID, base64.StdEncoding.EncodeToString(public), head)
		}))
		keys, got, err := a.relay.Keys(context.Background(), protocol.KeysRequest{By: address(t, "alice@one.example"), Of: address(t, "bob@two.example"), Fresh: true})
		if err != nil || got != head {
			t.Fatalf("got %v, %v", got, err)
		}
		if _, err := signature.NewKeyList("bob@two.example", keys, head); err != nil {
			t.Errorf("the list is not what was sent: %v: %+v", err, keys)
		}
		if !strings.HasSuffix(strings.TrimSpace(asked), "KEYS ima=bob@two.example fresh=yes by=alice@one.example") {
			t.Errorf("it was asked %q", asked)
		}
	})
}

// What another site answers is an empty list only if it has none, or does not
// know keys.
func TestAnswersToKEYS(t *testing.T) {
	empty := signature.Head{}.String()
	for answer, want := range map[string]protocol.Status{
		"200 head=" + empty: 0, "405 :unknown": 0, "200": protocol.StatusRemoteFailure, "200 head=x": protocol.StatusRemoteFailure,
		"500 :broken": protocol.StatusRemoteFailure, "403 :no": protocol.StatusRemoteFailure, "": protocol.StatusRemoteTimeout,
		strings.Repeat("100 kid=x\n", signature.MaxKeys+1) + "200 head=" + empty: protocol.StatusRemoteTimeout,
	} {
		goAbroad(t, nil, func(a *abroad) {
			a.put(home, a.serve(always(answer)))
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			keys, head, err := a.relay.Keys(ctx, protocol.KeysRequest{By: address(t, "alice@one.example"), Of: address(t, "bob@two.example"), Fresh: true})
			var refused *protocol.Error
			switch {
			case want == 0 && (err != nil || len(keys) > 0 || head != signature.Head{}):
				t.Errorf("%.20q: got %v, %v, %v", answer, keys, head, err)
			case want != 0 && (!errors.As(err, &refused) || refused.Status != want):
				t.Errorf("%.20q: got %v, want %d", answer, err, want)
			}
		})
	}
}

// A policy that forbids the domain, and a site that isn't there, are errors.
func TestKeysOfASiteThatIsNotReached(t *testing.T) {
	goAbroad(t, func(a *abroad, _ *federation.Config) { a.dialErr = errors.New("down") }, func(a *abroad) {
		_, _, err := a.relay.Keys(context.Background(), protocol.KeysRequest{By: address(t, "alice@one.example"), Of: address(t, "bob@two.example"), Fresh: true})
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Status/100 != 5 {
			t.Errorf("got %v", err)
		}
	})
}

// Changes of keys are told for what is watched, and for nothing else.
func TestChangesOfKeysAreTold(t *testing.T) {
	watching(t, func(a *abroad, s *presenceSite) {
		var mu sync.Mutex
		var told []string
		a.relay.OnKeys(func(by, of protocol.Address, n protocol.KeyNotice) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s %s %s %d", by, of, n.Head[:4], n.Index))
		})
		heard := func(want string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(told, ", "); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
			told = nil
		}
		var w watcher
		a.relay.Watch(address(t, "alice@one.example"), address(t, "BOB@two.example"), w.tell)
		w.hears(t, "BOB@two.example available")
		head := signature.Head{0, 1, 2}
		s.say("* KEYS ima=bob@two.example head=%s index=9 by=alice@one.example by=carol@one.example", head)
		heard("alice@one.example BOB@two.example AAEC 9")
		s.say("* KEYS ima=bob@two.example head=? index=9 by=alice@one.example")
		s.say("* KEYS ima=erin@two.example head=%s index=9 by=alice@one.example", head)
		s.say("* KEYS ima=bob@two.example head=%s index=9", head)
		heard("")
		w.hears(t, "")
	})
}

// interrupted plays a site whose first connections answer so many requests, and
// end once they have heard some more. Later ones answer all. It counts the
// requests by verb.
func interrupted(a *abroad, connections, answered, more int) (count func(verb string) int) {
	var mu sync.Mutex
	heard, admitted := map[string]int{}, 0
	a.put(home, func(p *outboundtest.Peer) {
		a.admit(p)
		mu.Lock()
		admitted++
		ends := admitted <= connections
		mu.Unlock()
		n := 0
		p.AnswerAll(func(verb, _ string) string {
			mu.Lock()
			defer mu.Unlock()
			heard[verb]++
			if n++; ends && n > answered {
				if n == answered+more {
					_ = p.Conn.Close()
				}
				return ""
			}
			switch verb {
			case "KEYS":
				return "200 head=" + signature.Head{}.String()
			case "QUERY":
				return "100 ima=bob@two.example state=away since=2026-11-30T12:00:00Z index=3\n200 index=3"
			}
			return "200"
		})
	})
	return func(verb string) int {
		mu.Lock()
		defer mu.Unlock()
		return heard[verb]
	}
}

// When a routing connection breaks, questions are asked again on the next one
// within the time that is left, whether the connection was old or new. Messages
// stay in doubt: nobody sends them again.
func TestQuestionsAreAskedAgain(t *testing.T) {
	for _, age := range []time.Duration{0, time.Minute} {
		goAbroad(t, nil, func(a *abroad) {
			count := interrupted(a, 1, 1, 3)
			if got := a.send("bob@two.example"); got.Status != protocol.StatusOK {
				t.Errorf("the first message: %v", got)
			}
			time.Sleep(age)
			outcome := a.start("alice@one.example", "bob@two.example", "m2", 10*time.Second)
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() {
				if got := a.relay.Query(ctx, address(t, "alice@one.example"), address(t, "bob@two.example")); got.State != protocol.Away {
					t.Errorf("after %v: QUERY: got %v", age, got)
				}
			})
			wg.Go(func() {
				if _, _, err := a.relay.Keys(ctx, protocol.KeysRequest{By: address(t, "alice@one.example"), Of: address(t, "bob@two.example")}); err != nil {
					t.Errorf("after %v: KEYS: %v", age, err)
				}
			})
			wg.Wait()
			if got := <-outcome; got.Status != protocol.StatusIndeterminate {
				t.Errorf("after %v: the message is %v, want in doubt", age, got)
			}
			if count("QUERY") != 2 || count("KEYS") != 2 || count("SEND") != 2 {
				t.Errorf("after %v: heard %d QUERY, %d KEYS and %d SEND", age, count("QUERY"), count("KEYS"), count("SEND"))
			}
		})
	}
}

// A site on which each connection breaks is asked as long as there is time, and
// one that answers what breaks the protocol is not asked again.
func TestQuestionsAreNotAskedForever(t *testing.T) {
	ask := func(a *abroad) (took time.Duration, err error) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _, err = a.relay.Keys(ctx, protocol.KeysRequest{By: address(t, "alice@one.example"), Of: address(t, "bob@two.example")})
		return time.Since(began), err
	}
	goAbroad(t, nil, func(a *abroad) {
		count := interrupted(a, 1000, 0, 1)
		took, err := ask(a)
		if err == nil || took > 10*time.Second || count("KEYS") < 3 || count("KEYS") > 10 {
			t.Errorf("asked %d times in %v: %v", count("KEYS"), took, err)
		}
	})
	goAbroad(t, nil, func(a *abroad) {
		asked := 0
		a.put(home, a.serve(func(string, string) string {
			asked++
			return strings.Repeat("100 kid=x\n", signature.MaxKeys+1) + "200"
		}))
		if took, err := ask(a); err == nil || took > time.Second || asked != 1 {
			t.Errorf("asked %d times in %v: %v", asked, took, err)
		}
	})
}
