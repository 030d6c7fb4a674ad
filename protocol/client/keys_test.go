package client_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
	"simpd/protocol/signature"
)

func deviceKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func base64Of(octets []byte) string { return base64.StdEncoding.EncodeToString(octets) }

// listOf returns the answer to KEY or KEYS for a user with one key.
func listOf(user string, key ed25519.PrivateKey) string {
	k := signature.Key{ID: signature.KeyID(publicOf(key)), Key: publicOf(key), Name: "laptop", Created: time.Unix(0, 0), AddedAs: 1}
	return fmt.Sprintf("100 kid=%s key=%s created=1970-01-01T00:00:00.000Z name=laptop record=1 index=3\n200 head=%s",
		k.ID, base64Of(k.Key), signature.Head{}.NextAfterAdding(user, &k))
}

// Keys are listed, added with an older device's proof, and revoked.
func TestKeys(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		user := c.CanonicalUser().String()
		laptop, phone := deviceKey(1), deviceKey(2)
		id := signature.KeyID(publicOf(laptop))
		proof := base64Of(signature.ProveContinuity(laptop, user, publicOf(phone), "phone"))
		wait := doing(func() {
			p.Answer("KEY", listOf(user, laptop))
			p.Answer("KEY add="+base64Of(publicOf(phone))+" name=phone by="+id+" sig="+proof, "200 kid=x index=9")
			p.Answer("KEY revoke="+id, "200 index=10")
			p.Answer("KEYS ima=bob@two.example", "200 head="+signature.Head{}.String())
		})
		list, err := c.Keys(t.Context())
		if err != nil || len(list.Keys()) != 1 || list.Keys()[0].ID != id || list.Keys()[0].Index != 3 {
			t.Errorf("%+v, %v", list, err)
		}
		if index, err := c.AddKey(t.Context(), publicOf(phone), "phone", laptop); index != 9 || err != nil {
			t.Errorf("added: %d, %v", index, err)
		}
		if index, err := c.RevokeKey(t.Context(), id); index != 10 || err != nil {
			t.Errorf("revoked: %d, %v", index, err)
		}
		if list, err := c.KeysOf(t.Context(), address(t, "bob@two.example")); err != nil || len(list.Keys()) != 0 {
			t.Errorf("bob's: %+v, %v", list, err)
		}
		wait()
		closeWith(t, c, p)
	})
}

// A list that contradicts its head is not believed, and an old server has none.
func TestListsThatAreNoLists(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		for answer, want := range map[string]error{
			listOf("somebody@else.example", deviceKey(1)): client.ErrBadKeyList,
			"200":              client.ErrBadKeyList,
			"405 :unknown KEY": client.ErrNotSupported,
		} {
			wait := doing(func() { p.Answer("KEY", answer) })
			if _, err := c.Keys(t.Context()); !errors.Is(err, want) {
				t.Errorf("%.20q: got %v, want %v", answer, err, want)
			}
			wait()
		}
		closeWith(t, c, p)
	})
}

// Several keys are told apart, and an answer that breaks the protocol fails
// the request: it is not made again and again.
func TestAnswersOfKeysAreToldApart(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		head, lines := signature.Head{}, ""
		for i := range 3 {
			public := publicOf(deviceKey(byte(i)))
			k := signature.Key{ID: signature.KeyID(public), Key: public, Created: time.Unix(0, 0), AddedAs: i + 1}
			head = head.NextAfterAdding(c.CanonicalUser().String(), &k)
			lines += fmt.Sprintf("100 kid=%s key=%s created=1970-01-01T00:00:00.000Z record=%d index=3\n", k.ID, base64Of(public), i+1)
		}
		wait := doing(func() { p.Answer("KEY", lines+"200 head="+head.String()) })
		if list, err := c.Keys(t.Context()); err != nil || len(list.Keys()) != 3 {
			t.Errorf("%+v, %v", list, err)
		}
		wait()
		wait = doing(func() { p.Answer("KEY", "100 kid=x\n100 kid=x") })
		if _, err := c.Keys(t.Context()); !errors.Is(err, client.ErrLost) {
			t.Errorf("one key twice: %v", err)
		}
		wait()
		c.Close(t.Context())
	})
}

// A message that is signed by one client is verified by another, however the
// addresses are spelled; one that is not the same is bad.
func TestSignedMessagesAreVerified(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		me, other := c.CanonicalUser(), address(t, "Bob@two.example")
		signed, err := c.Sign(deviceKey(1), client.Message{To: []protocol.Address{me, other}, Entity: client.Text("hello")})
		if err != nil || signed.ID == "" {
			t.Fatal(signed, err)
		}
		m := &protocol.Message{From: me, To: me, ID: signed.ID, Time: time.Now(), Entity: signed.Entity}
		verify := func(m *protocol.Message, answer string) signature.Verdict {
			wait := doing(func() { p.Answer("KEYS ima="+m.From.String(), answer) })
			v, _ := c.Verify(t.Context(), m, signature.Knowledge{})
			wait()
			return v
		}
		if v := verify(m, listOf(me.String(), deviceKey(1))); v.State != signature.Signed {
			t.Errorf("got %+v", v)
		}
		altered := *m
		altered.Entity = append(bytes.Clone(m.Entity), '!')
		if v := verify(&altered, listOf(me.String(), deviceKey(1))); v.State != signature.Bad {
			t.Errorf("altered: %+v", v)
		}
		redirected := *m
		redirected.ID = "another" // the list is not asked for
		if v, _ := c.Verify(t.Context(), &redirected, signature.Knowledge{}); v.State != signature.Bad {
			t.Errorf("with another id: %+v", v)
		}
		unsigned := *m
		unsigned.Entity = client.Text("hello") // the list is not asked for
		if v, _ := c.Verify(t.Context(), &unsigned, signature.Knowledge{}); v.State != signature.Unsigned {
			t.Errorf("unsigned: %+v", v)
		}
		if v := verify(m, listOf("somebody@else.example", deviceKey(1))); v.State != signature.Bad || !errors.Is(v.Err, client.ErrBadKeyList) {
			t.Errorf("a list that contradicts itself: %+v", v)
		}
		time.Sleep(11 * time.Second)
		wait := doing(func() {
			p.Answer("KEYS ima="+m.From.String(), "200 head="+signature.Head{}.String())
			p.Answer("KEYS ima="+m.From.String()+" fresh=yes", "503 :cut off")
		})
		if v, _ := c.Verify(t.Context(), m, signature.Knowledge{}); v.State != signature.Unverified {
			t.Errorf("a list that may be old, and no newer one: %+v", v)
		}
		wait()
		time.Sleep(11 * time.Second)
		if v := verify(m, "502 :not there"); v.State != signature.Unverified || v.Err == nil {
			t.Errorf("without a list: %+v", v)
		}
		if v, _ := c.Verify(t.Context(), m, signature.Knowledge{}); v.State != signature.Unverified { // without asking again
			t.Errorf("a moment later: %+v", v)
		}
		time.Sleep(11 * time.Second)
		if v := verify(m, listOf(me.String(), deviceKey(1))); v.State != signature.Signed {
			t.Errorf("later: %+v", v)
		}
		closeWith(t, c, p)
	})
}

// Changes of the own keys are reported, and those of nobody's.
func TestChangesOfKeysAreReported(t *testing.T) {
	var heard []string
	inBubble(t, func(config *client.Config) {
		config.OnKeys = func(n protocol.KeyNotice) { heard = append(heard, fmt.Sprint(n.Address, n.Index)) }
	}, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		p.Say("* KEYS ima=%s head=%s index=7", c.CanonicalUser(), signature.Head{})
		p.Say("* KEYS ima=stranger@example.com head=%s index=8", signature.Head{})
		p.Say("* KEYS ima=%s head=nonsense index=9", c.CanonicalUser())
		synctest.Wait()
		closeWith(t, c, p)
		if want := fmt.Sprintf("[%s 7]", c.CanonicalUser()); fmt.Sprint(heard) != want {
			t.Errorf("heard %v, want %v", heard, want)
		}
	})
}

// Messages that have arrived already share one list of their sender; one that
// comes later has it fetched again. A server that limits the rate of requests
// is asked again, and makes no message look forged.
func TestWaitingMessagesShareAList(t *testing.T) {
	var c *client.Client
	var states []signature.State
	inBubble(t, func(config *client.Config) {
		config.OnMessage = func(ctx context.Context, m *protocol.Message) error {
			v, _ := c.Verify(ctx, m, signature.Knowledge{})
			states = append(states, v.State)
			return nil
		}
	}, func(t *testing.T, s *site, opened *client.Client, p *outboundtest.Peer) {
		c = opened
		wait := doing(func() { p.Answer("LISTEN", "200 session=s index=1") })
		if _, err := c.Listen(t.Context(), protocol.ListenRequest{}); err != nil {
			t.Fatal(err)
		}
		wait()
		message := func(id string) string {
			signed, err := signature.Sign(deviceKey(1), signature.Claims{From: "bob@example.com", To: []string{c.CanonicalUser().String()}, ID: id, Time: time.Now()}, []byte("\r\nhi"))
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%s MESSAGE from=bob@example.com to=%s id=%s time=%s {%d}\r\n%s", id, c.User(), id, time.Now().UTC().Format(protocol.TimeFormat), len(signed), signed)
		}
		_, _ = fmt.Fprint(p.Conn, message("m1")+message("m2")+message("m3"))
		p.Answer("KEYS ima=bob@example.com", "429 retry=1 :too many requests")
		p.Answer("KEYS ima=bob@example.com", listOf("bob@example.com", deviceKey(1)))
		for _, id := range []string{"m1", "m2", "m3"} {
			if got := p.Hear(); got != id+" 200" {
				t.Errorf("got %q", got)
			}
		}
		_, _ = fmt.Fprint(p.Conn, message("m4"))
		p.Answer("KEYS ima=bob@example.com", listOf("bob@example.com", deviceKey(1)))
		if got := p.Hear(); got != "m4 200" {
			t.Errorf("got %q", got)
		}
		closeWith(t, c, p)
	})
	if want := []signature.State{signature.Signed, signature.Signed, signature.Signed, signature.Signed}; !slices.Equal(states, want) {
		t.Errorf("the states are %v", states)
	}
}
