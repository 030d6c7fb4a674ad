package outbound

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// A proof of continuity has the name of a key and a signature, in their full
// length, or neither: another site can't make a list large with them.
func TestProofsOfContinuityHaveTheirLength(t *testing.T) {
	public := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	id := signature.KeyID(public)
	for _, c := range []struct {
		signer string
		proof  int
		ok     bool
	}{
		{"", 0, true}, {id, ed25519.SignatureSize, true},
		{id, 0, false}, {"", ed25519.SignatureSize, false}, {id, ed25519.SignatureSize - 1, false},
		{id, 3000, false}, {id + "x", ed25519.SignatureSize, false}, {strings.Repeat("x", 3000), ed25519.SignatureSize, false},
		{strings.Repeat("x", 3000), 0, false}, {"", 3000, false},
	} {
		text := fmt.Sprintf("1 100 kid=%s key=%s created=2026-11-30T12:00:00Z record=1 index=7", id, base64.StdEncoding.EncodeToString(public))
		if c.signer != "" {
			text += " signer=" + c.signer
		}
		if c.proof > 0 {
			text += " sig=" + base64.StdEncoding.EncodeToString(make([]byte, c.proof))
		}
		var l protocol.Line
		if err := protocol.ParseLine(text, &l); err != nil {
			t.Fatal(err)
		}
		if k, ok := ParseKey(&l); ok != c.ok || ok && (k.By != c.signer || len(k.Proof) != c.proof) {
			t.Errorf("signer of %d, proof of %d octets: %v, %+v", len(c.signer), c.proof, ok, k)
		}
	}
}

// FuzzKeyLines parses the lines of a list of keys, whatever another site has
// sent. A list that is accepted has one key for each line that is one, and the
// head that was sent.
func FuzzKeyLines(f *testing.F) {
	public := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	good := fmt.Sprintf("1 100 kid=%s key=%s created=2026-11-30T12:00:00Z record=1 index=7", signature.KeyID(public), base64.StdEncoding.EncodeToString(public))
	f.Add(good)
	f.Add(good + " revoked=2026-11-30T13:00:00Z revocation=2 by=operator")
	f.Add(good + "\n" + good)
	f.Fuzz(func(t *testing.T, text string) {
		var keys []signature.Key
		for line := range strings.SplitSeq(text, "\n") {
			var l protocol.Line
			if protocol.ParseLine(line, &l) != nil {
				continue
			}
			if k, ok := ParseKey(&l); ok {
				keys = append(keys, k)
			}
		}
		heads, err := signature.HeadsOf("bob@example.com", keys)
		if err != nil {
			return
		}
		list, err := signature.NewKeyList("bob@example.com", keys, heads[len(heads)-1])
		if err == nil && (len(list.Keys()) != len(keys) || list.Head() != heads[len(heads)-1]) {
			t.Errorf("%q: got %+v", text, list)
		}
		if _, err := signature.NewKeyList("bob@example.com", keys, signature.Head{1}); err == nil {
			t.Errorf("%q: accepted with another head", text)
		}
	})
}
