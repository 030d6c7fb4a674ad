package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
)

// tlsWriter writes TLS 1.3's records by hand (RFC 8446, sections 5 and 7.2;
// TLS_AES_128_GCM_SHA256 only), as Go's client has no way to ask for new keys.
type tlsWriter struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

const (
	recordHandshake   = 22
	recordApplication = 23
)

func newTLSWriter(secret []byte) (*tlsWriter, error) {
	w := &tlsWriter{secret: secret}
	return w, w.setKey()
}

// setKey makes the key of the present secret.
func (w *tlsWriter) setKey() error {
	key, err := expandLabel(w.secret, "key", 16)
	if err != nil {
		return err
	}
	if w.iv, err = expandLabel(w.secret, "iv", 12); err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	w.seq = 0
	w.aead, err = cipher.NewGCM(block)
	return err
}

// expandLabel is HKDF-Expand-Label with no context.
func expandLabel(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(append(info, byte(len(label))), label...), 0)
	return hkdf.Expand(sha256.New, secret, string(info), n)
}

// record seals one record.
func (w *tlsWriter) record(kind byte, content []byte) []byte {
	inner := append(append([]byte(nil), content...), kind)
	head := binary.BigEndian.AppendUint16([]byte{recordApplication, 3, 3}, uint16(len(inner)+w.aead.Overhead()))
	nonce := append([]byte(nil), w.iv...)
	for i := range 8 {
		nonce[4+i] ^= byte(w.seq >> (56 - 8*i))
	}
	w.seq++
	return w.aead.Seal(head, nonce, inner, head)
}

// keyUpdate asks the other side for new keys, and goes on with new ones.
func (w *tlsWriter) keyUpdate() ([]byte, error) {
	record := w.record(recordHandshake, []byte{24, 0, 0, 1, 1})
	next, err := expandLabel(w.secret, "traffic upd", sha256.Size)
	if err != nil {
		return nil, err
	}
	w.secret = next
	return record, w.setKey()
}

// keyLog finds the client's secret in what tls.Config.KeyLogWriter is told.
type keyLog struct {
	mu     sync.Mutex
	secret []byte
}

func (k *keyLog) Write(line []byte) (int, error) {
	words := strings.Fields(string(line))
	if len(words) == 3 && words[0] == "CLIENT_TRAFFIC_SECRET_0" {
		secret, err := hex.DecodeString(words[2])
		if err != nil {
			return 0, fmt.Errorf("the key log: %w", err)
		}
		k.mu.Lock()
		k.secret = secret
		k.mu.Unlock()
	}
	return len(line), nil
}

func (k *keyLog) clientSecret() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.secret
}
