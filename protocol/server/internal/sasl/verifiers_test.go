package sasl

import (
	"testing"

	"simpd/protocol"
)

func TestVerifiersAreRememberedWithinBounds(t *testing.T) {
	var v Verifiers
	key := func(i int) protocol.Credentials {
		return protocol.Credentials{Unchecked: true, StoredKey: []byte{byte(i >> 16), byte(i >> 8), byte(i), 0, 0, 0, 0, 1}}
	}
	for i := range maxVerifiers + 10 {
		v.remember(key(i))
	}
	if len(v.checked) != maxVerifiers || v.NeedsCheck(key(maxVerifiers+9)) {
		t.Errorf("%d are remembered, the newest among them: %v", len(v.checked), !v.NeedsCheck(key(maxVerifiers+9)))
	}
}
