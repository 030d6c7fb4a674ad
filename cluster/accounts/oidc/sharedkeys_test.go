package oidc

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"

	"simpd/cluster/accounts"
)

// keySite is the source of one provider on three nodes.
type keySite struct {
	*idp
	nodes  []*Source
	leader atomic.Int32 // negative: there is none
	asked  atomic.Int32 // how often one node asked another
}

func newKeySite(p *idp) *keySite {
	s := &keySite{idp: p}
	for id := range int32(3) {
		s.nodes = append(s.nodes, p.source(func(c *Config) {
			c.AskSite = func(ctx context.Context, source string, known accounts.SharedKeys) (accounts.SharedKeys, error) {
				switch leader := s.leader.Load(); {
				case source != "corp":
					return accounts.SharedKeys{}, fmt.Errorf("asked for %s", source)
				case leader == id:
					return accounts.SharedKeys{}, accounts.ErrNotShared
				case leader < 0:
					return accounts.SharedKeys{}, errors.New("there is no leader")
				default:
					s.asked.Add(1)
					return s.nodes[leader].ShareKeys(ctx, known)
				}
			}
		}))
	}
	return s
}

// pass has all nodes believe that time has passed.
func (s *keySite) pass(d time.Duration) {
	for _, n := range s.nodes {
		pass(n, d)
	}
}

// burst checks tokens on all nodes at the same time, and returns how many were
// not accepted.
func (s *keySite) burst(times int, tokens ...string) int {
	var all sync.WaitGroup
	var refused atomic.Int32
	for i := range times {
		all.Go(func() {
			a, err := s.nodes[i%len(s.nodes)].CheckToken(context.Background(), tokens[i%len(tokens)])
			if err != nil || a.Verdict != accounts.Accepted {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	return int(refused.Load())
}

// A burst of logins over three nodes fetches the keys once, and so does one with
// a new key of the provider. Nobody is refused meanwhile.
func TestSiteFetchesKeysOnce(t *testing.T) {
	old, fresh := newKey(t), newKey(t)
	s := newKeySite(newIDP(t, map[string]*rsa.PrivateKey{"k1": old}))
	before := s.token(old, "k1", goidc.RS256, nil)
	if refused := s.burst(1000, before); refused > 0 || s.keyFetches() != 1 || s.asked.Load() != 2 {
		t.Errorf("%d refused, %d fetches, nodes asked each other %d times", refused, s.keyFetches(), s.asked.Load())
	}
	s.pass(refreshInterval)
	s.setKeys(map[string]*rsa.PrivateKey{"k1": old, "k2": fresh})
	after := s.token(fresh, "k2", goidc.RS256, nil)
	if refused := s.burst(1000, before, after); refused > 0 || s.keyFetches() != 2 || s.asked.Load() != 4 {
		t.Errorf("rotated: %d refused, %d fetches, nodes asked each other %d times", refused, s.keyFetches(), s.asked.Load())
	}
}

// Whoever makes up the names of keys makes the site fetch them once in ten
// seconds, whichever nodes they ask and whoever leads.
func TestUnknownKeysOfASite(t *testing.T) {
	key := newKey(t)
	s := newKeySite(newIDP(t, map[string]*rsa.PrivateKey{"k1": key}))
	if refused := s.burst(3, s.token(key, "k1", goidc.RS256, nil)); refused > 0 {
		t.Fatal("a good token is refused")
	}
	madeUp := s.token(newKey(t), "made-up", goidc.RS256, nil)
	for leader := range int32(3) {
		s.leader.Store(leader)
		if n := s.burst(30, madeUp); n != 30 {
			t.Errorf("%d tokens of an unknown key were accepted", 30-n)
		}
	}
	if n := s.keyFetches(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	s.pass(refreshInterval)
	s.burst(30, madeUp)
	if n := s.keyFetches(); n != 2 {
		t.Errorf("%d fetches after ten seconds", n)
	}
}

// Tokens of known keys need no leader, and those of unknown ones wait for one.
func TestKeysWithoutALeader(t *testing.T) {
	old, fresh := newKey(t), newKey(t)
	s := newKeySite(newIDP(t, map[string]*rsa.PrivateKey{"k1": old}))
	before, after := s.token(old, "k1", goidc.RS256, nil), s.token(fresh, "k2", goidc.RS256, nil)
	s.burst(3, before)
	s.leader.Store(-1)
	s.setKeys(map[string]*rsa.PrivateKey{"k2": fresh})
	s.pass(2 * keysMaxAge)
	if refused := s.burst(30, before); refused > 0 {
		t.Errorf("%d tokens of a known key were refused", refused)
	}
	s.pass(retryInterval)
	for _, n := range s.nodes {
		if a, err := n.CheckToken(t.Context(), after); err == nil {
			t.Errorf("without a leader: %v", a.Verdict)
		}
	}
	s.leader.Store(1)
	s.pass(retryInterval)
	if refused := s.burst(30, after); refused > 0 || s.keyFetches() != 2 {
		t.Errorf("with a leader: %d refused, %d fetches", refused, s.keyFetches())
	}
}

// While the leader does not answer, tokens of known keys do not wait for it,
// however old the keys are.
func TestKnownKeysDoNotWait(t *testing.T) {
	key := newKey(t)
	p := newIDP(t, map[string]*rsa.PrivateKey{"k1": key})
	asked, hangs := make(chan struct{}, 1), false
	ctx, end := context.WithCancel(t.Context())
	s := p.source(func(c *Config) {
		c.AskSite = func(context.Context, string, accounts.SharedKeys) (shared accounts.SharedKeys, err error) {
			if hangs {
				asked <- struct{}{}
				<-ctx.Done()
			}
			return shared, accounts.ErrNotShared
		}
	})
	token := p.token(key, "k1", goidc.RS256, nil)
	expect(t, s, token, accounts.Accepted)
	hangs = true
	pass(s, 2*keysMaxAge)
	for range 10 {
		expect(t, s, token, accounts.Accepted)
	}
	<-asked
	end()
	s.keys.mu.Lock()
	pending := s.keys.pending
	s.keys.mu.Unlock()
	if pending != nil {
		<-pending
	}
	if n := p.keyFetches(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

// A node whose provider is another than the leader's fetches the keys itself, and
// damaged keys of another node are not used.
func TestKeysOfAnotherProvider(t *testing.T) {
	key := newKey(t)
	p, other := newIDP(t, map[string]*rsa.PrivateKey{"k1": key}), newIDP(t, map[string]*rsa.PrivateKey{"k1": newKey(t)})
	leader := other.source(nil)
	s := p.source(func(c *Config) {
		c.AskSite = func(ctx context.Context, _ string, known accounts.SharedKeys) (accounts.SharedKeys, error) {
			return leader.ShareKeys(ctx, known)
		}
	})
	expect(t, s, p.token(key, "k1", goidc.RS256, nil), accounts.Accepted)
	if n := other.keyFetches(); n != 0 {
		t.Errorf("the other provider was asked %d times", n)
	}
	if _, err := leader.ShareKeys(t.Context(), accounts.SharedKeys{Issuer: other.URL, Keys: []byte("{"), Age: time.Second}); err == nil {
		t.Error("keys that are none are taken")
	}
}
