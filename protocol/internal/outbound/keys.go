package outbound

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// ParseKey parses a 100 line of KEY or KEYS. It copies what it keeps of the
// line, and verifies nothing: signature.NewKeyList does.
func ParseKey(l *protocol.Line) (k signature.Key, ok bool) {
	key, keyErr := base64.StdEncoding.Strict().DecodeString(TextParam(l, "key"))
	proof, proofErr := base64.StdEncoding.Strict().DecodeString(TextParam(l, "sig"))
	created, createdErr := time.Parse(time.RFC3339Nano, TextParam(l, "created"))
	signer := TextParam(l, "signer")
	if keyErr != nil || proofErr != nil || createdErr != nil || signature.CheckKey(key) != nil || !isProofSize(len(signer), len(proof)) {
		return k, false
	}
	k = signature.Key{
		ID: signature.KeyID(key), Key: key, Created: created, AddedAs: IntParam(l, "record"),
		By: strings.Clone(signer), Index: UintParam(l, "index"), RevokedAs: IntParam(l, "revocation"),
	}
	if len(proof) > 0 {
		k.Proof = proof
	}
	if name := TextParam(l, "name"); protocol.ValidNote(name) {
		k.Name = strings.Clone(name)
	}
	if k.RevokedAs == 0 {
		return k, TextParam(l, "kid") == k.ID
	}
	if TextParam(l, "by") == signature.ByOperator {
		k.RevokedBy = signature.ByOperator
	}
	revoked, err := time.Parse(time.RFC3339Nano, TextParam(l, "revoked"))
	k.Revoked = revoked
	return k, err == nil && TextParam(l, "kid") == k.ID
}

// isProofSize reports whether a key's name and a signature, or neither, have
// the lengths that they must have, so that a list takes limited memory.
func isProofSize(signer, proof int) bool {
	return signer == 0 && proof == 0 || signer == signature.KeyIDLength && proof == ed25519.SignatureSize
}

// ParseKeyNotice parses a KEYS notification. It copies what it keeps of the
// line.
func ParseKeyNotice(l *protocol.Line) (n protocol.KeyNotice, ok bool) {
	a, err := protocol.ParseAddress(strings.Clone(TextParam(l, "ima")))
	if err != nil {
		return n, false
	}
	head, err := signature.ParseHead(TextParam(l, "head"))
	return protocol.KeyNotice{Address: a, Head: head.String(), Index: UintParam(l, "index")}, err == nil
}
