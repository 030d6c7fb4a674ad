package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
)

// Sign returns entity with a signature as its first header field. The claims
// must be those that the message is sent with. It fails for an entity that
// has a signature, and without recipients.
func Sign(key ed25519.PrivateKey, c Claims, entity []byte) ([]byte, error) {
	if _, signed, _ := splitField(entity); signed {
		return nil, errors.New("the message is signed already")
	}
	if len(entity) > 0 && (entity[0] == ' ' || entity[0] == '\t') { // it would continue the field
		return nil, errors.New("a message that begins with a space can't be signed")
	}
	if len(c.To) == 0 || len(c.To) > MaxDest {
		return nil, errors.New("a signed message has 1 to 64 recipients")
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("invalid private key")
	}
	header, err := encodeProtected(c, KeyID(public))
	if err != nil {
		return nil, err
	}
	encoded := base64.RawURLEncoding.EncodeToString(header)
	sig := ed25519.Sign(key, signingInput([]byte(encoded), entity))
	signed := make([]byte, 0, len(FieldName)+len(encoded)+len(entity)+100)
	signed = append(signed, FieldName+": "...)
	signed = append(signed, encoded...)
	signed = append(signed, ".."...)
	signed = base64.RawURLEncoding.AppendEncode(signed, sig)
	signed = append(signed, "\r\n"...)
	return append(signed, entity...), nil
}

// signingInput returns the octets that are signed (RFC 7797, section 3): the
// protected header as it was sent, a full stop, and the payload as it is.
func signingInput(encodedHeader, payload []byte) []byte {
	input := make([]byte, 0, len(encodedHeader)+1+len(payload))
	input = append(input, encodedHeader...)
	input = append(input, '.')
	return append(input, payload...)
}
