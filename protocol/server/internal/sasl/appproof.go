package sasl

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"strings"

	"simpd/protocol"
)

// appProof finds out with which of a user's passwords a client has computed
// its proof in SCRAM (RFC 5802). They share salt and iteration count, so one
// challenge serves them all. The conversation knows one verifier. Before it
// checks the proof, selectVerifier replaces the octets of that verifier by
// those of the app password that fits, if one does.
type appProof struct {
	stored, server []byte // the conversation's verifier
	messages       string // the beginning of RFC 5802's AuthMessage
}

// replaceable returns c with keys that belong to the conversation alone.
func (p *appProof) replaceable(c protocol.Credentials) protocol.Credentials {
	if len(c.AppPasswords) > 0 {
		p.stored, p.server = slices.Clone(c.StoredKey), slices.Clone(c.ServerKey)
		c.StoredKey, c.ServerKey = p.stored, p.server
	}
	return c
}

// begin records the client's first message and the challenge.
func (p *appProof) begin(first, challenge string) {
	if parts := strings.SplitN(first, ",", 3); len(parts) == 3 {
		p.messages = parts[2] + "," + challenge + ","
	}
}

// selectVerifier returns the app password that the client's final message
// proves, and makes the conversation check that one; nil: none. What fits
// nobody takes as long whether the user has app passwords or not, or is not
// known (does not exist, or is disabled): then as many verifiers are tried as a
// user may have.
func (p *appProof) selectVerifier(c protocol.Credentials, known bool, final string) *protocol.AppVerifier {
	message, encoded, ok := cutProof(final)
	if !ok {
		return nil
	}
	proof, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(proof) != sha256.Size {
		return nil
	}
	message = p.messages + message
	if proves(proof, c.StoredKey, message) && known {
		return nil
	}
	var found *protocol.AppVerifier
	for i := range protocol.MaxAppPasswords {
		key, app := c.StoredKey, (*protocol.AppVerifier)(nil)
		if i < len(c.AppPasswords) {
			app = &c.AppPasswords[i]
			key = app.StoredKey
		}
		if proves(proof, key, message) && app != nil {
			found = app
		}
	}
	if found != nil {
		copy(p.stored, found.StoredKey)
		copy(p.server, found.ServerKey)
	}
	return found
}

// cutProof splits a client's final message before the proof, which stands
// last.
func cutProof(final string) (message, proof string, ok bool) {
	i := strings.LastIndex(final, ",p=")
	if i < 0 {
		return "", "", false
	}
	return final[:i], final[i+len(",p="):], true
}

// proves reports whether a proof was computed with the client key that belongs
// to storedKey.
func proves(proof, storedKey []byte, message string) bool {
	mac := hmac.New(sha256.New, storedKey)
	mac.Write([]byte(message))
	clientKey := mac.Sum(nil)
	subtle.XORBytes(clientKey, clientKey, proof)
	sum := sha256.Sum256(clientKey)
	return hmac.Equal(sum[:], storedKey)
}
