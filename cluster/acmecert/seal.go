package acmecert

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
)

// ErrSealed says that a value cannot be opened: it was sealed by a key that
// this node does not have, under another name, or is damaged.
var ErrSealed = errors.New("none of this node's gossip keys opens the value")

// Seal encrypts a value for the replicated table, and binds it to its name. key
// is the site's first gossip key; the value's key is derived from it (HKDF,
// RFC 5869; AES-256-GCM with a random nonce).
func Seal(key []byte, name string, value []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, value, []byte(name)), nil
}

// Open decrypts a value of that name with the first of the keys that fits.
// isFirst reports whether that is the first of all. The error is ErrSealed if
// none fits.
func Open(keys [][]byte, name string, sealed []byte) (value []byte, isFirst bool, err error) {
	for i, key := range keys {
		aead, err := newAEAD(key)
		if err != nil {
			return nil, false, err
		}
		if value, err = aead.Open(nil, nil, sealed, []byte(name)); err == nil {
			return value, i == 0, nil
		}
	}
	return nil, false, ErrSealed
}

func newAEAD(gossipKey []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, gossipKey, nil, "simpd sealed value", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
