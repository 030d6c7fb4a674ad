package signature_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"simpd/protocol/signature"
)

func TestNewKeyIsShownAsSuch(t *testing.T) {
	list := newListOf(alice).add(device(1), nil, "laptop").add(device(2), device(1), "phone").
		add(device(3), device(2), "tablet").add(device(4), nil, "stranger").list(t)
	id := func(n byte) string { return signature.KeyID(publicOf(device(n))) }
	for _, c := range []struct {
		by    byte
		known []string
		want  signature.State
	}{
		{4, nil, signature.Signed}, // the first contact
		{1, []string{id(1)}, signature.Signed},
		{2, []string{id(1)}, signature.Signed}, // vouched for
		{3, []string{id(1)}, signature.Signed}, // by a chain
		{3, []string{"other", id(2)}, signature.Signed},
		{4, []string{id(1)}, signature.NewKey},
		{1, []string{id(3)}, signature.NewKey}, // not backwards
		{1, []string{"no longer there"}, signature.NewKey},
	} {
		v := signature.Classify(received(sign(t, device(c.by), claims())), list, signature.Knowledge{KeyIDs: c.known})
		if v.State != c.want || v.KeyID != id(c.by) {
			t.Errorf("by device %d, %q known: got %+v, want %v", c.by, c.known, v, c.want)
		}
	}
}

func TestListThatContradictsAnEarlierHeadIsBad(t *testing.T) {
	b := newListOf(alice).add(device(1), nil, "laptop")
	before := b.list(t).Head()
	later := b.add(device(2), nil, "phone").revoke(device(1), sentAt.Add(time.Hour), "").list(t)
	rewritten := newListOf(alice).add(device(3), nil, "evil").add(device(1), nil, "laptop").list(t)
	hidden := newListOf(alice).add(device(1), nil, "laptop").list(t) // without what came later
	signed := received(sign(t, device(1), claims()))
	for _, c := range []struct {
		name  string
		list  *signature.KeyList
		heads []signature.Head
		want  signature.State
	}{
		{"longer", later, []signature.Head{before}, signature.Signed},
		{"the same", later, []signature.Head{before, later.Head()}, signature.Signed},
		{"rewritten", rewritten, []signature.Head{before}, signature.Bad},
		{"a hidden revocation", hidden, []signature.Head{before, later.Head()}, signature.Bad},
	} {
		if v := signature.Classify(signed, c.list, signature.Knowledge{Heads: c.heads}); v.State != c.want {
			t.Errorf("%s: got %+v, want %v", c.name, v, c.want)
		}
	}
}

// TestListIsChecked changes a correct list in each way that a lying server
// could, and leaves or corrects the head.
func TestListIsChecked(t *testing.T) {
	build := func() *listBuilder {
		return newListOf(alice).add(device(1), nil, "laptop").add(device(2), device(1), "phone").
			revoke(device(1), sentAt, "").add(device(3), device(2), "")
	}
	if l := build().list(t); len(l.Keys()) != 3 || l.Keys()[1].Name != "phone" {
		t.Fatalf("got %+v", l.Keys())
	}
	for name, change := range map[string]func(b *listBuilder){
		"another name":            func(b *listBuilder) { b.keys[0].Name = "desktop" },
		"another time":            func(b *listBuilder) { b.keys[0].Created = b.keys[0].Created.Add(time.Millisecond) },
		"another revocation":      func(b *listBuilder) { b.keys[0].Revoked = b.keys[0].Revoked.Add(time.Millisecond) },
		"another who revoked":     func(b *listBuilder) { b.keys[0].RevokedBy = signature.ByOperator },
		"a hidden revocation":     func(b *listBuilder) { b.keys[0].Revoked, b.keys[0].RevokedAs = time.Time{}, 0 },
		"no time of a revocation": func(b *listBuilder) { b.keys[0].Revoked = time.Time{} },
		"a key left out":          func(b *listBuilder) { b.keys = b.keys[1:] },
		"the newest left out":     func(b *listBuilder) { b.keys = b.keys[:2] },
		"a key twice":             func(b *listBuilder) { b.keys = append(b.keys, b.keys[0]) },
		"a wrong ID":              func(b *listBuilder) { b.keys[2].ID = b.keys[0].ID },
		"a short key":             func(b *listBuilder) { b.keys[2].Key = b.keys[2].Key[1:] },
		"an altered proof":        func(b *listBuilder) { b.keys[1].Proof = bytes.Repeat([]byte{1}, 64) },
		"a proof by nobody":       func(b *listBuilder) { b.keys[0].By = "x" },
		"a proof without by":      func(b *listBuilder) { b.keys[1].By = "" },
		"by without a proof":      func(b *listBuilder) { b.keys[1].Proof = nil },
		"another order":           func(b *listBuilder) { b.keys[0].AddedAs, b.keys[1].AddedAs = 2, 1 },
		"a gap":                   func(b *listBuilder) { b.keys[2].AddedAs = 5 },
		"a record twice":          func(b *listBuilder) { b.keys[2].AddedAs = 2 },
		"revoked before added":    func(b *listBuilder) { b.keys[2].Revoked, b.keys[2].RevokedAs = sentAt, 1 },
		"the list of another":     func(b *listBuilder) { b.user = bob },
	} {
		b := build()
		change(b)
		if _, err := signature.NewKeyList(b.user, b.keys, b.head); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestProofByARevokedKeyIsRefused(t *testing.T) {
	b := newListOf(alice).add(device(1), nil, "").revoke(device(1), sentAt, "").add(device(2), device(1), "")
	if _, err := signature.NewKeyList(alice, b.keys, b.head); err == nil {
		t.Error("accepted")
	}
}

func TestEmptyListHasTheZeroHead(t *testing.T) {
	l, err := signature.NewKeyList(alice, nil, signature.Head{})
	if err != nil || l.Head().String() != "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" {
		t.Errorf("got %v, %v", l, err)
	}
}

func TestHeadIsParsedStrictly(t *testing.T) {
	head := newListOf(alice).add(device(1), nil, "").head
	if got, err := signature.ParseHead(head.String()); got != head || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	for _, s := range []string{"", "AAAA", head.String() + "A", head.String()[:42], head.String()[:42] + "\n" + head.String()[42:], head.String() + "="} {
		if _, err := signature.ParseHead(s); err == nil {
			t.Errorf("%q: accepted", s)
		}
	}
}

func TestContinuityIsProvedForOneKeyAndName(t *testing.T) {
	proof := signature.ProveContinuity(device(1), alice, publicOf(device(2)), "phone")
	verify := func(by byte, user string, key byte, name string, proof []byte) bool {
		return signature.VerifyContinuity(publicOf(device(by)), user, publicOf(device(key)), name, proof)
	}
	if !verify(1, alice, 2, "phone", proof) {
		t.Error("a right proof is refused")
	}
	for i, accepted := range []bool{
		verify(2, alice, 2, "phone", proof), verify(1, bob, 2, "phone", proof), verify(1, alice, 3, "phone", proof),
		verify(1, alice, 2, "", proof), verify(1, alice, 2, "phone", proof[1:]), verify(1, alice, 2, "phone", nil),
	} {
		if accepted {
			t.Errorf("wrong proof %d is accepted", i)
		}
	}
	octets := slices.Concat([]byte("SIMP/1.1 key\x00alice@example.com\x00"), publicOf(device(2)), []byte("\x00phone"))
	if !bytes.Equal(proof, signRaw(device(1), octets)) {
		t.Error("the octets are not those of the specification")
	}
}
