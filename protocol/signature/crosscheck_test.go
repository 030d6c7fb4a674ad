package signature_test

import (
	"bytes"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"simpd/protocol/signature"
)

// TestAnotherImplementationVerifies has go-jose verify a signed message, and
// find a changed octet.
func TestAnotherImplementationVerifies(t *testing.T) {
	field, payload, _ := bytes.Cut(sign(t, device(1), claims()), []byte("\r\n"))
	value := string(bytes.TrimPrefix(field, []byte("SIMP-Signature: ")))
	verify := func(payload []byte) error {
		jws, err := jose.ParseDetached(value, payload, []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			return err
		}
		return jws.DetachedVerify(payload, publicOf(device(1)))
	}
	if err := verify(payload); err != nil {
		t.Errorf("go-jose refuses the signature: %v", err)
	}
	if verify(append(payload[:len(payload)-1:len(payload)-1], '!')) == nil {
		t.Error("go-jose accepts a changed message")
	}
}

// TestAnotherImplementationSigns verifies what go-jose signed.
func TestAnotherImplementationSigns(t *testing.T) {
	options := (&jose.SignerOptions{}).WithBase64(false).WithHeader("kid", signature.KeyID(publicOf(device(1)))).
		WithHeader("orig", alice).WithHeader("dest", []string{bob}).WithHeader("id", "m1").WithHeader("iat", sentAt.Unix())
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: device(1)}, options)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(entity))
	if err != nil {
		t.Fatal(err)
	}
	value, err := jws.DetachedCompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	list := newListOf(alice).add(device(1), nil, "").list(t)
	message := received([]byte("SIMP-Signature: " + value + "\r\n" + entity))
	if v := signature.Classify(message, list, signature.Knowledge{}); v.State != signature.Signed {
		t.Errorf("got %+v", v)
	}
}
