package signature_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"simpd/protocol/signature"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

// goldenFile holds vectors that simp.js is tested with too.
const goldenFile = "testdata/vectors.json"

// golden is the content of goldenFile. Octets are in base64.
type golden struct {
	Keys     []goldenKey           `json:"keys"`
	Proofs   []goldenProof         `json:"proofs"`
	Signed   []goldenSigned        `json:"signed"`
	Lists    map[string]goldenList `json:"lists"`
	Messages []goldenMessage       `json:"messages"`
}

type goldenKey struct {
	Seed        []byte `json:"seed"`
	Key         []byte `json:"key"`
	ID          string `json:"kid"`
	Fingerprint string `json:"fingerprint"`
}

type goldenProof struct {
	Seed  []byte `json:"seed"`
	User  string `json:"user"`
	Key   []byte `json:"key"`
	Name  string `json:"name"`
	Proof []byte `json:"sig"`
}

type goldenSigned struct {
	Seed   []byte   `json:"seed"`
	From   string   `json:"from"`
	To     []string `json:"to"`
	ID     string   `json:"id"`
	Time   int64    `json:"time"` // in milliseconds
	Entity []byte   `json:"entity"`
	Signed []byte   `json:"signed"`
}

// goldenList is a list as KEYS answers. Wrong lists are refused.
type goldenList struct {
	User  string              `json:"user"`
	Lines []map[string]string `json:"lines"`
	Head  string              `json:"head"`
	Wrong bool                `json:"wrong,omitempty"`
}

type goldenMessage struct {
	Name      string   `json:"name"`
	From      string   `json:"from"`
	Recipient string   `json:"recipient"`
	ID        string   `json:"id"`
	Time      string   `json:"time"`
	Entity    []byte   `json:"entity"`
	List      string   `json:"list"` // empty: none that is right
	KeyIDs    []string `json:"kids"` // that the recipient accepted
	Head      string   `json:"head"` // that the recipient saw; may be empty
	State     string   `json:"state"`
	KeyID     string   `json:"kid,omitempty"`
}

// goldenTime is the form of times on the wire.
const goldenTime = "2006-01-02T15:04:05.000Z"

// linesOf writes a list as the server does.
func linesOf(b *listBuilder) goldenList {
	l := goldenList{User: b.user, Head: b.head.String(), Lines: []map[string]string{}}
	for i := range b.keys {
		k := &b.keys[i]
		line := map[string]string{
			"kid": k.ID, "key": base64.StdEncoding.EncodeToString(k.Key), "created": k.Created.Format(goldenTime),
			"record": strconv.Itoa(k.AddedAs), "index": strconv.Itoa(40 + k.AddedAs),
		}
		add := func(name, value string) {
			if value != "" {
				line[name] = value
			}
		}
		add("name", k.Name)
		add("by", k.By)
		add("signer", k.By)
		add("sig", base64.StdEncoding.EncodeToString(k.Proof))
		if k.RevokedAs != 0 {
			add("by", k.RevokedBy)
			add("revoked", k.Revoked.Format(goldenTime))
			add("revocation", strconv.Itoa(k.RevokedAs))
		}
		l.Lines = append(l.Lines, line)
	}
	return l
}

// wrongLists changes a right list in each way that a lying server could, and
// keeps the head where that is not what is wrong.
func wrongLists(build func() *listBuilder) map[string]*listBuilder {
	smallOrder := make([]byte, 32)
	smallOrder[0] = 1
	all := map[string]*listBuilder{}
	for name, change := range map[string]func(b *listBuilder){
		"another name":         func(b *listBuilder) { b.keys[0].Name = "desktop" },
		"another time":         func(b *listBuilder) { b.keys[0].Created = b.keys[0].Created.Add(time.Millisecond) },
		"another revocation":   func(b *listBuilder) { b.keys[0].Revoked = b.keys[0].Revoked.Add(time.Millisecond) },
		"another who revoked":  func(b *listBuilder) { b.keys[0].RevokedBy = signature.ByOperator },
		"a hidden revocation":  func(b *listBuilder) { b.keys[0].RevokedAs = 0 },
		"a key left out":       func(b *listBuilder) { b.keys = b.keys[1:] },
		"the newest left out":  func(b *listBuilder) { b.keys = b.keys[:2] },
		"a key twice":          func(b *listBuilder) { b.keys = append(b.keys, b.keys[0]) },
		"a wrong ID":           func(b *listBuilder) { b.keys[2].ID = b.keys[0].ID },
		"a short key":          func(b *listBuilder) { b.keys[2].Key = b.keys[2].Key[1:] },
		"an altered proof":     func(b *listBuilder) { b.keys[1].Proof = bytes.Repeat([]byte{1}, 64) },
		"a proof by nobody":    func(b *listBuilder) { b.keys[1].By = signature.KeyID(publicOf(device(9))) },
		"a proof without by":   func(b *listBuilder) { b.keys[1].By = "" },
		"by without a proof":   func(b *listBuilder) { b.keys[1].Proof = nil },
		"another order":        func(b *listBuilder) { b.keys[0].AddedAs, b.keys[1].AddedAs = 2, 1 },
		"a gap":                func(b *listBuilder) { b.keys[2].AddedAs = 5 },
		"a record twice":       func(b *listBuilder) { b.keys[2].AddedAs = 2 },
		"revoked before added": func(b *listBuilder) { b.keys[2].Revoked, b.keys[2].RevokedAs = sentAt, 1 },
		"the list of another":  func(b *listBuilder) { b.user = bob },
		"another head":         func(b *listBuilder) { b.head = signature.Head{} },
		"small order":          func(b *listBuilder) { *b = *newListOf(alice); addRaw(b, smallOrder) },
		"no point":             func(b *listBuilder) { *b = *newListOf(alice); addRaw(b, append([]byte{7}, make([]byte, 31)...)) },
		"not canonical":        func(b *listBuilder) { *b = *newListOf(alice); addRaw(b, bytes.Repeat([]byte{255}, 32)) },
		"a proof by a revoked key": func(b *listBuilder) {
			*b = *newListOf(alice).add(device(1), nil, "").revoke(device(1), sentAt, "").add(device(2), device(1), "")
		},
	} {
		b := build()
		change(b)
		all[name] = b
	}
	return all
}

// addRaw adds octets that are no key.
func addRaw(b *listBuilder, key []byte) {
	k := signature.Key{ID: signature.KeyID(key), Key: key, Created: b.now, AddedAs: 1}
	b.head = b.head.NextAfterAdding(b.user, &k)
	b.keys = append(b.keys, k)
}

// goldenLists returns the lists of the vectors, and the right ones by name.
func goldenLists(t *testing.T) (all map[string]goldenList, right map[string]*signature.KeyList) {
	all, right = map[string]goldenList{}, map[string]*signature.KeyList{}
	build := func() *listBuilder {
		return newListOf(alice).add(device(1), nil, "laptop").add(device(2), device(1), "phone").
			revoke(device(1), sentAt.Add(time.Hour), "").add(device(3), device(2), "")
	}
	for name, b := range map[string]*listBuilder{
		"empty":     newListOf(alice),
		"one":       newListOf(alice).add(device(1), nil, "laptop"),
		"three":     build(),
		"stranger":  build().add(device(4), nil, "str\u00e4nger"),
		"operator":  newListOf(alice).add(device(1), nil, "").revoke(device(1), sentAt.Add(-time.Second), signature.ByOperator),
		"rewritten": newListOf(alice).add(device(3), nil, "evil").add(device(1), nil, "laptop"),
		"bob's":     newListOf(bob).add(device(1), nil, ""),
		"later": func() *listBuilder {
			b := newListOf(alice)
			b.now = sentAt.Add(signature.MaxSkew + time.Millisecond)
			return b.add(device(1), nil, "")
		}(),
		"just before": func() *listBuilder {
			b := newListOf(alice)
			b.now = sentAt.Add(signature.MaxSkew)
			return b.add(device(1), nil, "")
		}(),
	} {
		all[name], right[name] = linesOf(b), b.list(t)
	}
	for name, b := range wrongLists(build) {
		if _, err := signature.NewKeyList(b.user, b.keys, b.head); err == nil {
			t.Errorf("%s: accepted", name)
		}
		l := linesOf(b)
		l.Wrong = true
		all["wrong: "+name] = l
	}
	return all, right
}

// goldenCase is a message before it is classified; state is what it must be.
type goldenCase struct {
	name    string
	message signature.Message
	list    string
	known   signature.Knowledge
	state   signature.State
}

// goldenCases returns messages of each state.
func goldenCases(t *testing.T, right map[string]*signature.KeyList) []goldenCase {
	good := sign(t, device(1), claims())
	with := func(change func(*signature.Message)) signature.Message { m := received(good); change(&m); return m }
	known := func(n ...byte) (k signature.Knowledge) {
		for _, one := range n {
			k.KeyIDs = append(k.KeyIDs, signature.KeyID(publicOf(device(one))))
		}
		return k
	}
	seen := func(list string) signature.Knowledge {
		return signature.Knowledge{Heads: []signature.Head{right[list].Head()}}
	}
	by := func(n byte) signature.Message { return received(sign(t, device(n), claims())) }
	cases := []goldenCase{
		{"the first contact", received(good), "one", known(), signature.Signed},
		{"a known key", received(good), "three", known(1), signature.Signed},
		{"vouched for", by(2), "three", known(1), signature.Signed},
		{"vouched for by a chain", by(3), "three", known(1), signature.Signed},
		{"a longer list", received(good), "three", seen("one"), signature.Signed},
		{"just before the key", received(good), "just before", known(), signature.Signed},
		{"a new key", by(4), "stranger", known(1), signature.NewKey},
		{"not backwards", received(good), "three", known(3), signature.NewKey},
		{"known keys that are gone", received(good), "one", known(9), signature.NewKey},
		{"a rewritten list", received(good), "rewritten", seen("one"), signature.Bad},
		{"a hidden change", received(good), "one", seen("three"), signature.Bad},
		{"no list", received(good), "", known(), signature.Bad},
		{"another user's list", received(good), "bob's", known(), signature.Bad},
		{"an empty list", received(good), "empty", known(), signature.Bad},
		{"a key that is not in the list", by(9), "three", known(), signature.Bad},
		{"revoked by an operator", received(good), "operator", known(), signature.Bad},
		{"before the key", received(good), "later", known(), signature.Bad},
		{"another sender", with(func(m *signature.Message) { m.From = "mallory@example.com" }), "one", known(), signature.Bad},
		{"redirected", with(func(m *signature.Message) { m.Recipient = "dave@example.org" }), "one", known(), signature.Bad},
		{"another id", with(func(m *signature.Message) { m.ID = "m2" }), "one", known(), signature.Bad},
		{"300 s later", with(func(m *signature.Message) { m.Time = sentAt.Truncate(time.Second).Add(300 * time.Second) }), "one", known(), signature.Signed},
		{"more than 300 s later", with(func(m *signature.Message) {
			m.Time = sentAt.Truncate(time.Second).Add(300*time.Second + time.Millisecond)
		}), "one", known(), signature.Bad},
		{"more than 300 s earlier", with(func(m *signature.Message) {
			m.Time = sentAt.Truncate(time.Second).Add(-300*time.Second - time.Millisecond)
		}), "one", known(), signature.Bad},
	}
	entities, headers := goldenEntities(good), goldenHeaders()
	for _, name := range slices.Sorted(maps.Keys(entities)) {
		cases = append(cases, goldenCase{name, received(entities[name]), "one", known(), signature.Bad})
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		cases = append(cases, goldenCase{"header: " + name, received(headers[name]), "one", known(), signature.Bad})
	}
	for i, text := range []string{"", "\r\nSIMP-Signature: in..body\r\n", "X-SIMP-Signature: a..b\r\n\r\n", "SIMP\u017fignature: a..b\r\n\r\n", "no header"} {
		cases = append(cases, goldenCase{fmt.Sprint("unsigned ", i), received([]byte(text)), "one", known(1), signature.Unsigned})
	}
	return cases
}

// goldenEntities returns forms of a signed entity that are bad.
func goldenEntities(good []byte) map[string][]byte {
	flip := func(at int) []byte { b := bytes.Clone(good); b[at] ^= 1; return b }
	return map[string][]byte{
		"a flipped bit of the text":      flip(len(good) - 5),
		"a flipped bit of the signature": flip(bytes.Index(good, []byte("\r\n")) - 9),
		"a flipped bit of the header":    flip(40),
		"truncated":                      good[:len(good)-1],
		"extended":                       append(bytes.Clone(good), '\n'),
		"two fields":                     append([]byte("SIMP-Signature: a..b\r\n"), good...),
		"a second field later":           bytes.Replace(good, []byte("\r\n\r\n"), []byte("\r\nsimp-signature : a..b\r\n\r\n"), 1),
		"a second field after CR":        bytes.Replace(good, []byte("\r\n\r\n"), []byte("\rSIMP-Signature: a..b\r\n\r\n"), 1),
		"not first":                      append([]byte("Subject: x\r\n"), good...),
		"LF ends the field":              bytes.Replace(good, []byte("\r\n"), []byte("\n"), 1),
		"folded":                         bytes.Replace(good, []byte("\r\n"), []byte("\r\n x\r\n"), 1),
		"folded with a tab":              bytes.Replace(good, []byte("\r\n"), []byte("\r\n\tx\r\n"), 1),
		"lower-case name":                append([]byte("simp-signature"), good[len("SIMP-Signature"):]...),
		"two spaces":                     bytes.Replace(good, []byte(": "), []byte(":  "), 1),
		"only the field":                 []byte("SIMP-Signature:"),
		"no parts":                       []byte("SIMP-Signature: abc\r\n\r\n"),
		"padding":                        bytes.Replace(good, []byte("\r\n"), []byte("==\r\n"), 1),
	}
}

// goldenHeaders returns entities that are signed with a protected header that
// is not as it must be.
func goldenHeaders() map[string][]byte {
	good := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"b64":false,"crit":["b64"],"orig":%q,"dest":[%q],"id":"m1","iat":%d}`,
		signature.KeyID(publicOf(device(1))), alice, bob, sentAt.Unix())
	iat := fmt.Sprintf(`%d}`, sentAt.Unix())
	all := map[string][]byte{}
	for name, replace := range map[string][2]string{
		"alg none": {`"EdDSA"`, `"none"`}, "alg of another kind": {`"EdDSA"`, `1`}, "alg twice": {`{`, `{"alg":"EdDSA",`},
		"alg twice, escaped": {`{`, `{"\u0061lg":"EdDSA",`}, "id twice": {`"id"`, `"id":"m1","id"`}, "Alg": {`"alg"`, `"Alg"`},
		"no kid": {`"kid"`, `"kit"`}, "b64 true": {`"b64":false`, `"b64":true`}, "b64 null": {`"b64":false`, `"b64":null`},
		"no crit": {`"crit":["b64"],`, ``}, "crit empty": {`["b64"]`, `[]`}, "crit unknown": {`["b64"]`, `["b64","exp"]`},
		"dest a string": {fmt.Sprintf(`[%q]`, bob), fmt.Sprintf(`%q`, bob)}, "dest empty": {fmt.Sprintf(`[%q]`, bob), `[]`},
		"dest of 65":   {fmt.Sprintf(`[%q`, bob), fmt.Sprintf(`[%q%s`, bob, strings.Repeat(`,"x@y"`, 64))},
		"iat a string": {iat, `"` + strings.Replace(iat, "}", `"}`, 1)}, "iat a fraction": {iat, strings.Replace(iat, "}", ".0}", 1)},
		"iat escaped, a fraction": {`"iat":` + iat, `"\u0069at":` + strings.Replace(iat, "}", ".0}", 1)},
		"iat negative":            {iat, `-1}`}, "iat huge": {iat, `99999999999999999999}`}, "octets after it": {`}`, `}{}`}, "an array": {`{"alg"`, `[{"alg"`},
		"not UTF-8": {`"m1"`, "\"m1\xff\""}, "not finished": {`}`, ``}, "a byte order mark": {`{`, "\ufeff{"},
	} {
		all[name] = protectedWith(strings.Replace(good, replace[0], replace[1], 1))
	}
	return all
}

// newGolden computes the vectors.
func newGolden(t *testing.T) golden {
	lists, right := goldenLists(t)
	g := golden{Lists: lists}
	for n := byte(1); n <= 4; n++ {
		id := signature.KeyID(publicOf(device(n)))
		g.Keys = append(g.Keys, goldenKey{device(n).Seed(), publicOf(device(n)), id, signature.Fingerprint(id)})
	}
	for _, name := range []string{"", "phone", "t\u00e9l\u00e9phone"} {
		g.Proofs = append(g.Proofs, goldenProof{device(1).Seed(), alice, publicOf(device(2)), name, signature.ProveContinuity(device(1), alice, publicOf(device(2)), name)})
	}
	for _, text := range []string{entity, "\r\nhello", "\r\ngr\u00fc\u00df dich \U0001f600\n", "Content-Type: text/plain; charset=utf-8\r\n\r\n"} {
		c := claims()
		signed, err := signature.Sign(device(1), c, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		g.Signed = append(g.Signed, goldenSigned{device(1).Seed(), c.From, c.To, c.ID, c.Time.UnixMilli(), []byte(text), signed})
	}
	for _, c := range goldenCases(t, right) {
		v := signature.Classify(c.message, right[c.list], c.known)
		if v.State != c.state {
			t.Errorf("%s: got %v (%v), want %v", c.name, v.State, v.Err, c.state)
		}
		m := goldenMessage{
			Name: c.name, From: c.message.From, Recipient: c.message.Recipient, ID: c.message.ID, Time: c.message.Time.Format(goldenTime),
			Entity: c.message.Entity, List: c.list, KeyIDs: append([]string{}, c.known.KeyIDs...), State: c.state.String(), KeyID: v.KeyID,
		}
		for _, head := range c.known.Heads {
			m.Head = head.String()
		}
		g.Messages = append(g.Messages, m)
	}
	return g
}

// TestGoldenVectors shows that the vectors that simp.js is tested with are what
// this package does.
func TestGoldenVectors(t *testing.T) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(newGolden(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(goldenFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(goldenFile); err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s is not what this package computes; go test -run Golden -update writes it anew (%v)", goldenFile, err)
	}
}
