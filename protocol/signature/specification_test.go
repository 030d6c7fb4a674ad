package signature_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"simpd/protocol/signature"
)

// TestSpecificationsExample computes the example of SIMP.md, section 15: a
// list of two keys, and a message signed by the first.
func TestSpecificationsExample(t *testing.T) {
	octets, err := os.ReadFile("../SIMP.md")
	if err != nil {
		t.Fatal(err)
	}
	laptop := ed25519.NewKeyFromSeed(decode64(t, "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
	phone := device(2)
	first := signature.Key{
		ID: signature.KeyID(publicOf(laptop)), Key: publicOf(laptop), Name: "laptop", AddedAs: 1,
		Created: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
	}
	second := signature.Key{
		ID: signature.KeyID(publicOf(phone)), Key: publicOf(phone), Name: "phone", AddedAs: 2,
		Created: time.Date(2026, 11, 30, 12, 5, 0, 0, time.UTC),
		By:      first.ID, Proof: signature.ProveContinuity(laptop, alice, publicOf(phone), "phone"),
	}
	head1 := signature.Head{}.NextAfterAdding(alice, &first)
	head2 := head1.NextAfterAdding(alice, &second)
	second.Revoked, second.RevokedAs = time.Date(2026, 11, 30, 13, 0, 0, 0, time.UTC), 3
	head3 := head2.NextAfterRevoking(alice, &second)
	signed, err := signature.Sign(laptop, signature.Claims{From: alice, To: []string{bob}, ID: "m1", Time: first.Created}, []byte(entity))
	if err != nil {
		t.Fatal(err)
	}
	field, _, _ := strings.Cut(string(signed), "\r\n")
	for _, line := range []string{
		fmt.Sprintf("1 100 kid=%s key=%s created=2026-11-30T12:00:00.000Z name=laptop record=1 index=41", first.ID, base64.StdEncoding.EncodeToString(first.Key)),
		fmt.Sprintf("1 100 kid=%s key=%s created=2026-11-30T12:05:00.000Z name=phone by=%s signer=%s sig=%s record=2 revoked=2026-11-30T13:00:00.000Z revocation=3 index=42",
			second.ID, base64.StdEncoding.EncodeToString(second.Key), first.ID, first.ID, base64.StdEncoding.EncodeToString(second.Proof)),
		"1 200 head=" + head3.String(),
		"after record 1: " + head1.String(),
		"after record 2: " + head2.String(),
		field,
	} {
		if !strings.Contains(foldSpace(string(octets)), foldSpace(line)) {
			t.Errorf("the specification does not say:\n%s", line)
		}
	}
}

// foldSpace joins the lines of text, so that it does not matter where they are
// wrapped.
func foldSpace(text string) string { return strings.Join(strings.Fields(text), " ") }
