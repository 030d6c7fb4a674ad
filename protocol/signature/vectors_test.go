package signature_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"testing"

	"simpd/protocol/signature"
)

func signRaw(key ed25519.PrivateKey, octets []byte) []byte { return ed25519.Sign(key, octets) }

func decode64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestThumbprintOfRFC8037 is the example of RFC 8037, appendices A.1 to A.3.
func TestThumbprintOfRFC8037(t *testing.T) {
	key := ed25519.NewKeyFromSeed(decode64(t, "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
	if got := base64.RawURLEncoding.EncodeToString(publicOf(key)); got != "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" {
		t.Errorf("public key: %s", got)
	}
	if got := signature.KeyID(publicOf(key)); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("thumbprint: %s", got)
	}
}

// TestSignatureOfRFC8037 is the example of RFC 8037, appendices A.4 and A.5.
func TestSignatureOfRFC8037(t *testing.T) {
	key := ed25519.NewKeyFromSeed(decode64(t, "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
	const input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	const want = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	if got := base64.RawURLEncoding.EncodeToString(signRaw(key, []byte(input))); got != want {
		t.Errorf("got %s", got)
	}
}

// TestSigningInputOfRFC7797 is the example of RFC 7797, section 4.2: its
// HMAC-SHA-256 shows that the payload enters as it is.
func TestSigningInputOfRFC7797(t *testing.T) {
	mac := hmac.New(sha256.New, decode64(t, "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"))
	mac.Write(signature.SigningInput([]byte("eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19"), []byte("$.02")))
	if got := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); got != "A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY" {
		t.Errorf("got %s", got)
	}
}

func TestFingerprintIsTheThumbprintsBeginning(t *testing.T) {
	// The thumbprint of RFC 8037 begins with the octets 90fa cafe a9b1 5566 9854 03 70.
	if got := signature.Fingerprint("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"); got != wantFingerprint(t) {
		t.Errorf("got %q, want %q", got, wantFingerprint(t))
	}
	for _, s := range []string{"", "x", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4kA"} {
		if got := signature.Fingerprint(s); got != "" {
			t.Errorf("%q: got %q", s, got)
		}
	}
}

// wantFingerprint writes out the first 100 bits by hand, bit by bit.
func wantFingerprint(t *testing.T) string {
	sum := decode64(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
	out := ""
	for char := range 20 {
		value := 0
		for bit := char * 5; bit < char*5+5; bit++ {
			value = value<<1 | int(sum[bit/8]>>(7-bit%8)&1)
		}
		if char > 0 && char%4 == 0 {
			out += "-"
		}
		out += string("0123456789abcdefghjkmnpqrstvwxyz"[value])
	}
	return out
}

// TestSmallOrderKeysAreRefused refuses all encodings of the points of small
// order, among them those that are not canonical.
func TestSmallOrderKeysAreRefused(t *testing.T) {
	for _, s := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		key, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, sign := range []byte{0, 0x80} {
			key[31] = key[31]&0x7f | sign
			if signature.CheckKey(key) == nil {
				t.Errorf("%x: accepted", key)
			}
		}
	}
}

// TestOnlyPointsAreKeys compares with the standard library: a key that is no
// point verifies nothing.
func TestOnlyPointsAreKeys(t *testing.T) {
	accepted := 0
	for n := byte(1); n < 60; n++ {
		if err := signature.CheckKey(publicOf(device(n))); err != nil {
			t.Errorf("key %d: %v", n, err)
		}
		key := make([]byte, 32)
		big.NewInt(int64(n) + 1).FillBytes(key[:1])
		if signature.CheckKey(key) == nil {
			accepted++
		}
	}
	if accepted < 15 || accepted > 45 { // about every other y has a point
		t.Errorf("%d of 59 values of y were accepted", accepted)
	}
	for _, key := range [][]byte{nil, make([]byte, 31), make([]byte, 33)} {
		if signature.CheckKey(key) != signature.ErrKeySize {
			t.Errorf("%d octets: accepted", len(key))
		}
	}
}
