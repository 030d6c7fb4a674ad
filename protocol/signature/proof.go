package signature

import (
	"crypto/ed25519"
	"encoding/base64"
)

// proofLabel begins the octets of a proof of continuity, so that they are
// nothing else that a device signs: a message's begin with base64url.
const proofLabel = "SIMP/1.1 key"

// ProveContinuity signs a new key of the same user with a key of an older
// device: the user, not only the home server, says that key is theirs. name is
// the new key's name, or empty.
func ProveContinuity(by ed25519.PrivateKey, user string, key ed25519.PublicKey, name string) []byte {
	return ed25519.Sign(by, proofOctets(user, string(key), name))
}

// VerifyContinuity reports whether proof was made by ProveContinuity with the
// private key of by. It accepts a proof over the key in base64 too, as the key
// is in the request, because some clients sign that.
func VerifyContinuity(by ed25519.PublicKey, user string, key ed25519.PublicKey, name string, proof []byte) bool {
	return len(by) == ed25519.PublicKeySize && len(proof) == ed25519.SignatureSize &&
		(ed25519.Verify(by, proofOctets(user, string(key), name), proof) ||
			ed25519.Verify(by, proofOctets(user, base64.StdEncoding.EncodeToString(key), name), proof))
}

// proofOctets returns what a proof of continuity signs. The key's length is
// fixed, so that its octets may contain NUL.
func proofOctets(user, key, name string) []byte {
	return []byte(proofLabel + "\x00" + user + "\x00" + key + "\x00" + name)
}
