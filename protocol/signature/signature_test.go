package signature_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"simpd/protocol/signature"
)

const (
	alice = "alice@example.com"
	bob   = "bob@example.org"
)

var sentAt = time.Date(2026, 11, 30, 12, 0, 0, 250e6, time.UTC)

// entity is what the tests sign.
const entity = "Content-Type: text/plain; charset=utf-8\r\n\r\nLunch at noon?\r\n"

// device makes a private key that is the same in each run.
func device(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// listBuilder keeps a user's list as a home server does.
type listBuilder struct {
	user    string
	keys    []signature.Key
	head    signature.Head
	records int
	now     time.Time
}

func newListOf(user string) *listBuilder {
	return &listBuilder{user: user, now: sentAt.Add(-24 * time.Hour)}
}

// add adds a device's key; by may be nil.
func (b *listBuilder) add(key, by ed25519.PrivateKey, name string) *listBuilder {
	k := signature.Key{ID: signature.KeyID(publicOf(key)), Key: publicOf(key), Name: name, Created: b.now}
	if by != nil {
		k.By = signature.KeyID(publicOf(by))
		k.Proof = signature.ProveContinuity(by, b.user, publicOf(key), name)
	}
	b.records++
	k.AddedAs = b.records
	b.head = b.head.NextAfterAdding(b.user, &k)
	b.keys = append(b.keys, k)
	return b
}

func (b *listBuilder) revoke(key ed25519.PrivateKey, at time.Time, by string) *listBuilder {
	for i := range b.keys {
		if k := &b.keys[i]; k.ID == signature.KeyID(publicOf(key)) {
			b.records++
			k.Revoked, k.RevokedBy, k.RevokedAs = at, by, b.records
			b.head = b.head.NextAfterRevoking(b.user, k)
		}
	}
	return b
}

func (b *listBuilder) list(t testing.TB) *signature.KeyList {
	t.Helper()
	l, err := signature.NewKeyList(b.user, b.keys, b.head)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func claims() signature.Claims {
	return signature.Claims{From: alice, To: []string{bob, "carol@example.org"}, ID: "m1", Time: sentAt}
}

// sign returns entity as alice's first device sends it to bob.
func sign(t testing.TB, key ed25519.PrivateKey, c signature.Claims) []byte {
	t.Helper()
	signed, err := signature.Sign(key, c, []byte(entity))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// received is the message as bob's client receives it.
func received(signed []byte) signature.Message {
	return signature.Message{From: alice, Recipient: bob, ID: "m1", Time: sentAt, Entity: signed}
}

func TestSignedMessageIsSigned(t *testing.T) {
	list := newListOf(alice).add(device(1), nil, "laptop").list(t)
	signed := sign(t, device(1), claims())
	if !bytes.HasSuffix(signed, []byte("\r\n"+entity)) {
		t.Fatalf("the entity was changed: %q", signed)
	}
	v := signature.Classify(received(signed), list, signature.Knowledge{})
	if want := (signature.Verdict{State: signature.Signed, KeyID: signature.KeyID(publicOf(device(1)))}); v != want {
		t.Errorf("got %+v, want %+v", v, want)
	}
}

func TestMessageWithoutTheFieldIsUnsigned(t *testing.T) {
	for _, text := range []string{
		"", "no header", entity, "\r\nSIMP-Signature: in..body\r\n",
		"X-SIMP-Signature: a..b\r\n\r\n", "SIMP\u017fignature: a..b\r\n\r\n", "\u017fIMP-Signature: a..b\r\n\r\n",
	} {
		if v := signature.Classify(received([]byte(text)), nil, signature.Knowledge{}); v.State != signature.Unsigned {
			t.Errorf("%q: got %v (%v), want unsigned", text, v.State, v.Err)
		}
		if signature.HasSignature([]byte(text)) {
			t.Errorf("%q has a signature", text)
		}
	}
}

// TestForgeriesAreBad forges a message in each way that the contract names.
func TestForgeriesAreBad(t *testing.T) {
	list := newListOf(alice).add(device(1), nil, "laptop").add(device(2), device(1), "phone").
		revoke(device(2), sentAt.Add(-time.Second), "").list(t)
	good := sign(t, device(1), claims())
	with := func(change func(*signature.Claims)) []byte {
		c := claims()
		change(&c)
		return sign(t, device(1), c)
	}
	for name, m := range map[string]signature.Message{
		"another sender on the wire": func() signature.Message { m := received(good); m.From = "mallory@example.com"; return m }(),
		"another domain":             func() signature.Message { m := received(good); m.From = "alice@example.net"; return m }(),
		"redirected":                 func() signature.Message { m := received(good); m.Recipient = "dave@example.org"; return m }(),
		"another id":                 func() signature.Message { m := received(good); m.ID = "m2"; return m }(),
		"6 minutes later":            func() signature.Message { m := received(good); m.Time = sentAt.Add(6 * time.Minute); return m }(),
		"6 minutes earlier":          func() signature.Message { m := received(good); m.Time = sentAt.Add(-6 * time.Minute); return m }(),
		"signed as another":          received(with(func(c *signature.Claims) { c.From = "carol@example.com" })),
		"signed for others":          received(with(func(c *signature.Claims) { c.To = []string{"carol@example.org"} })),
		"not a device of the sender": received(sign(t, device(9), claims())),
		"revoked":                    received(sign(t, device(2), claims())),
		"truncated":                  received(good[:len(good)-1]),
		"extended":                   received(append(bytes.Clone(good), '\n')),
		"two fields":                 received(append([]byte("SIMP-Signature: a..b\r\n"), good...)),
		"second field later":         received(bytes.Replace(good, []byte("\r\n\r\n"), []byte("\r\nsimp-signature : a..b\r\n\r\n"), 1)),
		"not first":                  received(append([]byte("Subject: x\r\n"), good...)),
		"LF ends the field":          received(bytes.Replace(good, []byte("\r\n"), []byte("\n"), 1)),
		"folded":                     received(bytes.Replace(good, []byte("\r\n"), []byte("\r\n x\r\n"), 1)),
		"lower-case name":            received(append([]byte("simp-signature"), good[len("SIMP-Signature"):]...)),
		"only the field":             received([]byte("SIMP-Signature:")),
		"no parts":                   received([]byte("SIMP-Signature: abc\r\n\r\n")),
	} {
		if v := signature.Classify(m, list, signature.Knowledge{}); v.State != signature.Bad || v.Err == nil || v.KeyID != "" {
			t.Errorf("%s: got %+v, want bad with a reason", name, v)
		}
	}
	if err := signature.Check(received(good)); err != nil {
		t.Errorf("what the keys decide: %v", err)
	}
	redirected := received(good)
	redirected.Recipient = "dave@example.org"
	if signature.Check(redirected) == nil {
		t.Error("a redirected message needs the sender's keys")
	}
	if v := signature.Classify(received(good), nil, signature.Knowledge{}); v.State != signature.Bad {
		t.Errorf("without the sender's keys: %+v", v)
	}
	if v := signature.Classify(received(good), newListOf(bob).add(device(1), nil, "").list(t), signature.Knowledge{}); v.State != signature.Bad {
		t.Errorf("with another user's list: %+v", v)
	}
}

// TestTimesAreExact shows the limits of a signature's time.
func TestTimesAreExact(t *testing.T) {
	list := newListOf(alice).add(device(1), nil, "").list(t)
	signed := sign(t, device(1), claims())
	signedAt := sentAt.Truncate(time.Second)
	for skew, want := range map[time.Duration]signature.State{
		-signature.MaxSkew: signature.Signed, signature.MaxSkew: signature.Signed,
		-signature.MaxSkew - time.Millisecond: signature.Bad, signature.MaxSkew + time.Millisecond: signature.Bad,
	} {
		m := received(signed)
		m.Time = signedAt.Add(skew)
		if v := signature.Classify(m, list, signature.Knowledge{}); v.State != want {
			t.Errorf("%v: got %v (%v), want %v", skew, v.State, v.Err, want)
		}
	}
}

// TestKeyIsValidSomewhatBeforeItsCreation shows that a key may be used at once,
// although the recipient's site, whose clock may be behind, says the time.
func TestKeyIsValidSomewhatBeforeItsCreation(t *testing.T) {
	for early, want := range map[time.Duration]signature.State{
		signature.MaxSkew: signature.Signed, signature.MaxSkew + time.Millisecond: signature.Bad,
	} {
		b := newListOf(alice)
		b.now = sentAt.Add(early)
		list := b.add(device(1), nil, "").list(t)
		if v := signature.Classify(received(sign(t, device(1), claims())), list, signature.Knowledge{}); v.State != want {
			t.Errorf("%v before: got %v (%v), want %v", early, v.State, v.Err, want)
		}
	}
}

// TestErrorsQuoteNothingOfTheHeader shows that a sender can't put text of their
// own, of any length, before the recipient.
func TestErrorsQuoteNothingOfTheHeader(t *testing.T) {
	list := newListOf(alice).add(device(1), nil, "").list(t)
	evil := strings.Repeat("evil", 1000)
	good := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"b64":false,"crit":["b64"],"orig":%q,"dest":[%q],"id":"m1","iat":%d}`,
		signature.KeyID(publicOf(device(1))), alice, bob, sentAt.Unix())
	for name, replace := range map[string][2]string{
		"alg": {"EdDSA", evil}, "crit": {`["b64"]`, `["` + evil + `"]`}, "orig": {alice, evil}, "dest": {bob, evil},
		"id": {"m1", evil}, "kid": {`"kid":"`, `"kid":"` + evil}, "a member twice": {`{`, `{"` + evil + `":1,"` + evil + `":2,`},
	} {
		v := signature.Classify(received(protectedWith(strings.Replace(good, replace[0], replace[1], 1))), list, signature.Knowledge{})
		if v.State != signature.Bad || v.Err == nil || strings.Contains(v.Err.Error(), "evil") {
			t.Errorf("%s: got %v, %.100v", name, v.State, v.Err)
		}
	}
}

// TestRevocationEndsAKeyAtItsTime shows that what was signed before stays
// signed.
func TestRevocationEndsAKeyAtItsTime(t *testing.T) {
	for at, want := range map[time.Time]signature.State{sentAt: signature.Bad, sentAt.Add(time.Millisecond): signature.Signed} {
		list := newListOf(alice).add(device(1), nil, "").revoke(device(1), at, signature.ByOperator).list(t)
		if v := signature.Classify(received(sign(t, device(1), claims())), list, signature.Knowledge{}); v.State != want {
			t.Errorf("revoked at %v: got %v (%v), want %v", at, v.State, v.Err, want)
		}
	}
}

// TestNoBitCanBeChanged flips each bit of a signed message.
func TestNoBitCanBeChanged(t *testing.T) {
	list := newListOf(alice).add(device(1), nil, "").list(t)
	good := sign(t, device(1), claims())
	for i := range good {
		for bit := range 8 {
			altered := bytes.Clone(good)
			altered[i] ^= 1 << bit
			if v := signature.Classify(received(altered), list, signature.Knowledge{}); v.State == signature.Signed || v.State == signature.NewKey {
				t.Fatalf("octet %d (%q), bit %d: %+v", i, good[i], bit, v)
			}
		}
	}
}

// protectedWith signs entity below a protected header that is given as it is.
func protectedWith(header string) []byte {
	encoded := base64.RawURLEncoding.EncodeToString([]byte(header))
	sig := ed25519.Sign(device(1), []byte(encoded+"."+entity))
	return []byte("SIMP-Signature: " + encoded + ".." + base64.RawURLEncoding.EncodeToString(sig) + "\r\n" + entity)
}

func TestProtectedHeaderIsReadStrictly(t *testing.T) {
	list := newListOf(alice).add(device(1), nil, "").list(t)
	kid := signature.KeyID(publicOf(device(1)))
	good := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"b64":false,"crit":["b64"],"orig":%q,"dest":[%q],"id":"m1","iat":%d}`,
		kid, alice, bob, sentAt.Unix())
	classify := func(header string) signature.Verdict {
		return signature.Classify(received(protectedWith(header)), list, signature.Knowledge{})
	}
	if v := classify(good); v.State != signature.Signed {
		t.Fatalf("good: %+v", v)
	}
	if v := classify(strings.Replace(good, "{", ` { "unknown" : [ 1 ] , `, 1)); v.State != signature.Signed {
		t.Errorf("an unknown member and white space: %+v", v)
	}
	for name, replace := range map[string][2]string{
		"alg none":            {`"EdDSA"`, `"none"`},
		"alg of another kind": {`"EdDSA"`, `1`},
		"alg twice":           {`{`, `{"alg":"EdDSA",`},
		"alg twice, escaped":  {`{`, `{"\u0061lg":"EdDSA",`},
		"id twice":            {`"id"`, `"id":"m1","id"`},
		"Alg":                 {`"alg"`, `"Alg"`},
		"no kid":              {`"kid"`, `"kit"`},
		"b64 true":            {`"b64":false`, `"b64":true`},
		"b64 null":            {`"b64":false`, `"b64":null`},
		"no b64":              {`"b64":false,`, ``},
		"no crit":             {`"crit":["b64"],`, ``},
		"crit empty":          {`["b64"]`, `[]`},
		"crit unknown":        {`["b64"]`, `["b64","exp"]`},
		"crit twice":          {`["b64"]`, `["b64","b64"]`},
		"dest a string":       {fmt.Sprintf(`[%q]`, bob), fmt.Sprintf(`%q`, bob)},
		"dest empty":          {fmt.Sprintf(`[%q]`, bob), `[]`},
		"iat a string":        {fmt.Sprintf(`%d}`, sentAt.Unix()), fmt.Sprintf(`"%d"}`, sentAt.Unix())},
		"iat a fraction":      {fmt.Sprintf(`%d}`, sentAt.Unix()), fmt.Sprintf(`%d.0}`, sentAt.Unix())},
		"iat negative":        {fmt.Sprintf(`%d}`, sentAt.Unix()), `-1}`},
		"iat huge":            {fmt.Sprintf(`%d}`, sentAt.Unix()), `99999999999999999999}`},
		"octets after it":     {`}`, `}{}`},
		"an array":            {`{"alg"`, `[{"alg"`},
		"not UTF-8":           {`"m1"`, "\"m1\xff\""},
		"not finished":        {`}`, ``},
	} {
		altered := strings.Replace(good, replace[0], replace[1], 1)
		if altered == good {
			t.Fatalf("%s changes nothing", name)
		}
		if v := classify(altered); v.State != signature.Bad {
			t.Errorf("%s: got %+v, want bad", name, v)
		}
	}
}

func TestSignRefusesWhatCannotBeVerified(t *testing.T) {
	if _, err := signature.Sign(device(1), claims(), sign(t, device(1), claims())); err == nil {
		t.Error("signed a signed message")
	}
	if _, err := signature.Sign(device(1), claims(), []byte(" folded: x\r\n\r\n")); err == nil {
		t.Error("signed a message that continues the field")
	}
	c := claims()
	c.To = nil
	if _, err := signature.Sign(device(1), c, []byte(entity)); err == nil {
		t.Error("signed a message to nobody")
	}
}

func TestSignedByNamesTheKey(t *testing.T) {
	id, err := signature.SignedBy(sign(t, device(1), claims()))
	if want := signature.KeyID(publicOf(device(1))); id != want || err != nil {
		t.Errorf("got %q, %v; want %q", id, err, want)
	}
	if id, err := signature.SignedBy([]byte(entity)); id != "" || err != nil {
		t.Errorf("unsigned: got %q, %v", id, err)
	}
	if _, err := signature.SignedBy([]byte("SIMP-Signature: e..e\r\n\r\n")); err == nil {
		t.Error("no error for a bad field")
	}
}

func FuzzClassify(f *testing.F) {
	list := newListOf(alice).add(device(1), nil, "").list(f)
	good := sign(f, device(1), claims())
	f.Add(good)
	f.Add([]byte(entity))
	f.Add(protectedWith(`{"alg":"EdDSA"}`))
	f.Fuzz(func(t *testing.T, octets []byte) {
		v := signature.Classify(received(octets), list, signature.Knowledge{})
		if accepted := v.State == signature.Signed || v.State == signature.NewKey; accepted != bytes.Equal(octets, good) {
			t.Fatalf("%q: %+v", octets, v)
		}
		if (v.State == signature.Bad) != (v.Err != nil) {
			t.Fatalf("%+v", v)
		}
		if (v.State != signature.Unsigned) != signature.HasSignature(octets) {
			t.Fatalf("HasSignature: %+v", v)
		}
	})
}

func BenchmarkSignAndVerify(b *testing.B) {
	list := newListOf(alice).add(device(1), nil, "").list(b)
	for b.Loop() {
		if v := signature.Classify(received(sign(b, device(1), claims())), list, signature.Knowledge{}); v.State != signature.Signed {
			b.Fatal(errors.Join(v.Err, errors.New(v.State.String())))
		}
	}
}
