package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/rate"
	"simpd/protocol/signature"
)

// keyTime is when the test site takes all keys.
var keyTime = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func (u *siteUser) Keys() ([]signature.Key, signature.Head) { return u.site.keysOf(u.address) }

func (s *site) keysOf(a protocol.Address) ([]signature.Key, signature.Head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heads, err := signature.HeadsOf(a.String(), s.keys[a])
	if err != nil {
		panic(err)
	}
	return s.keys[a], heads[len(heads)-1]
}

func (u *siteUser) AddKey(_ context.Context, k signature.Key) (uint64, error) {
	u.site.mu.Lock()
	u.site.index++
	k.Created, k.AddedAs, k.Index = keyTime, len(u.site.keys[u.address])+1, u.site.index
	u.site.keys[u.address] = append(u.site.keys[u.address], k)
	u.site.mu.Unlock()
	u.site.notifyKeys(u.address, k.Index)
	return k.Index, nil
}

func (u *siteUser) RevokeKey(_ context.Context, id string) (uint64, error) {
	u.site.mu.Lock()
	u.site.index++
	index, n := u.site.index, len(u.site.keys[u.address])
	for i := range u.site.keys[u.address] {
		if k := &u.site.keys[u.address][i]; k.ID == id {
			k.Revoked, k.RevokedAs, k.RevokedBy = keyTime.Add(time.Hour), n+1, signature.ByOperator
		}
	}
	u.site.mu.Unlock()
	u.site.notifyKeys(u.address, index)
	return index, nil
}

// notifyKeys tells the user's own connections.
func (s *site) notifyKeys(a protocol.Address, index uint64) {
	_, head := s.keysOf(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := range s.users {
		if u.address == a {
			u.session.NotifyKeys(&protocol.KeyNotice{Address: a, Head: head.String(), Index: index})
		}
	}
}

func (u *siteUser) KeysOf(_ context.Context, q protocol.KeysRequest) ([]signature.Key, signature.Head, error) {
	if q.Of.Local() == "hidden" || q.By.IsZero() {
		return nil, signature.Head{}, nil
	}
	keys, head := u.site.keysOf(q.Of)
	return keys, head, nil
}

func device(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func encoded(octets []byte) string { return base64.StdEncoding.EncodeToString(octets) }

// loginAt11 connects as a user, by SIMP/1.1.
func (s *stage) loginAt11(name string) *client {
	s.Helper()
	c := s.dial()
	c.send("h HELLO version=SIMP/1.1")
	c.expect("h 200 <rest>")
	c.send("a AUTH mech=PLAIN data=%s", plainData(name, "secret"))
	c.expect("a 200 ima=%s@example.com", name)
	return c
}

// The lines of KEY and KEYS hold all that a client needs to verify the list.
// Only clients of SIMP/1.1 are told of changes.
func TestKeysAreShownAsTheyAreVerified(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice, old := s.loginAt11("alice"), s.login("alice")
		laptop, phone := device(1), device(2)
		id, phoneID := signature.KeyID(publicOf(laptop)), signature.KeyID(publicOf(phone))
		alice.send("1 KEY add=%s name=laptop", encoded(publicOf(laptop)))
		head := signature.Head{}.NextAfterAdding("alice@example.com",
			&signature.Key{ID: id, Key: publicOf(laptop), Name: "laptop", Created: keyTime})
		alice.expect("* KEYS ima=alice@example.com head=%s index=<any>", head)
		alice.expect("1 200 kid=%s index=<any>", id)
		proof := signature.ProveContinuity(laptop, "alice@example.com", publicOf(phone), "")
		alice.send("2 KEY add=%s by=%s sig=%s", encoded(publicOf(phone)), id, encoded(proof))
		head = head.NextAfterAdding("alice@example.com", &signature.Key{ID: phoneID, Key: publicOf(phone), Created: keyTime, By: id, Proof: proof})
		alice.expect("* KEYS ima=alice@example.com head=%s index=<any>", head)
		alice.expect("2 200 kid=%s index=<any>", phoneID)
		lines := []string{
			fmt.Sprintf("100 kid=%s key=%s created=2026-11-30T12:00:00.000Z name=laptop record=1 index=<any>", id, encoded(publicOf(laptop))),
			fmt.Sprintf("100 kid=%s key=%s created=2026-11-30T12:00:00.000Z by=%s signer=%s sig=%s record=2 index=<any>",
				phoneID, encoded(publicOf(phone)), id, id, encoded(proof)),
			"200 head=" + head.String(),
		}
		bob := s.login("bob")
		for _, list := range []struct {
			c       *client
			request string
		}{{alice, "KEY"}, {old, "KEY"}, {bob, "KEYS ima=alice@example.com"}, {bob, "KEYS ima=Alice@Example.COM"}} {
			list.c.send("3 %s", list.request)
			for _, line := range lines {
				list.c.expect("3 %s", line)
			}
		}
		alice.send("5 KEY revoke=%s", phoneID)
		alice.expect("* KEYS ima=alice@example.com head=<any> index=<any>")
		alice.expect("5 200 index=<any>")
		alice.send("6 KEY")
		alice.expect("6 %s", lines[0])
		alice.expect("6 %s", strings.NewReplacer(" by="+id, " by=operator",
			"record=2", "record=2 revoked=2026-11-30T13:00:00.000Z revocation=3").Replace(lines[1]))
		alice.expect("6 200 head=<any>")
		old.expectNothing(time.Minute)
	})
}

// Keys that cannot be, and requests that say too much or too little.
func TestInvalidKeysAreRefused(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice := s.loginAt11("alice")
		good := encoded(publicOf(device(1)))
		for request, answer := range map[string]string{
			"KEY add=" + good + " revoke=x":            "400 :add and revoke exclude each other",
			"KEY add=?":                                "400 :add is not valid base64",
			"KEY add=":                                 "400 :a public key has 32 octets",
			"KEY add=" + good[4:]:                      "400 :a public key has 32 octets",
			"KEY add=" + encoded(make([]byte, 32)):     "400 :the public key has small order<rest>",
			"KEY add=" + good + " by=x":                "400 :by and sig belong together<rest>",
			"KEY add=" + good + " sig=AAAA":            "400 :by and sig belong together<rest>",
			"KEY add=" + good + " by=x sig=?":          "400 :by is not the name of a key, or sig is not valid base64",
			"KEY add=" + good + " by= sig=AAAA":        "400 :by is not the name of a key, or sig is not valid base64",
			"KEYS":                                     "400 :KEYS asks for one user<rest>",
			"KEYS ima=a@example.com ima=b@example.com": "400 :KEYS asks for one user<rest>",
			"KEYS ima=@":                               "400 :<rest>",
			"KEYS ima=hidden@example.com":              "200 head=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		} {
			alice.send("1 %s", request)
			alice.expect("1 %s", answer)
		}
	})
}

// Whoever has only an app password may see the keys, and change none.
func TestAppPasswordsChangeNoKeys(t *testing.T) {
	play(t, nil, func(s *stage) {
		_, password := s.login("alice").appPassword("phone")
		c := s.dial()
		c.send("h HELLO version=SIMP/1.1")
		c.expect("h 200 <rest>")
		c.send("a AUTH mech=PLAIN data=%s", encoded([]byte("\x00alice@example.com\x00"+password)))
		c.expect("a 200 ima=alice@example.com app=<any>")
		c.send("1 KEY")
		c.expect("1 200 head=<any>")
		c.send("2 KEY add=%s", encoded(publicOf(device(1))))
		c.expect("2 403 :this session uses an app password<rest>")
		c.send("3 KEY revoke=x")
		c.expect("3 403 :this session uses an app password<rest>")
	})
}

// Each key of a list counts as a watched address, after the answer: a long list
// is always shown, and later requests wait for it.
func TestListsOfKeysAreChargedByTheirLength(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.site.watches.limit = rate.NewLimit(1, 3)
		alice := s.login("alice")
		for seed := byte(1); seed <= 10; seed++ {
			alice.send("a KEY add=%s", encoded(publicOf(device(seed))))
			alice.expect("a 200 kid=<any> index=<any>")
		}
		list := func(c *client, request string) {
			c.send("1 %s", request)
			for range 10 {
				c.expect("1 100 kid=<rest>")
			}
			c.expect("1 200 head=<any>")
		}
		bob := s.login("bob")
		for _, c := range []struct {
			*client
			request string
		}{{bob, "KEYS ima=alice@example.com"}, {alice, "KEY"}} {
			list(c.client, c.request) // costs 11 of 3
			for _, again := range []string{c.request, "QUERY ima=carol@example.com"} {
				c.send("2 %s", again)
				c.expect("2 429 retry=9 :too many watches in a short time")
			}
		}
		time.Sleep(9 * time.Second)
		list(bob, "KEYS ima=alice@example.com")
		list(alice, "KEY")
	})
}
