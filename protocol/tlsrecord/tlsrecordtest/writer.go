// Package tlsrecordtest writes TLS 1.3 records that no client of Go writes, to
// test what a server does about them.
package tlsrecordtest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

// Writer seals records by hand (RFC 8446, sections 5 and 7.2;
// TLS_AES_128_GCM_SHA256 only), as Go's client has no way to ask for new keys.
type Writer struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

const (
	recordHandshake   = 22
	recordApplication = 23
)

// Handshake does a client's handshake on c, and returns what writes the records
// that follow. What the server says is not read any more.
func Handshake(ctx context.Context, c net.Conn, config *tls.Config) (*Writer, error) {
	keys := &keyLog{}
	config = config.Clone()
	config.KeyLogWriter, config.MinVersion = keys, tls.VersionTLS13
	secured := tls.Client(c, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if secured.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return nil, errors.New("another cipher suite than TLS_AES_128_GCM_SHA256 was chosen")
	}
	return newWriter(keys.clientSecret())
}

// Updates seals n requests for new keys. After each comes application data: a
// server ends a connection on which many records follow each other without any.
func (w *Writer) Updates(n int, data string) ([]byte, error) {
	var octets []byte
	for range n {
		update, err := w.KeyUpdate()
		if err != nil {
			return nil, err
		}
		octets = append(append(octets, update...), w.Data(data)...)
	}
	return octets, nil
}

// Data seals application data, as one record.
func (w *Writer) Data(text string) []byte { return w.record(recordApplication, []byte(text)) }

func newWriter(secret []byte) (*Writer, error) {
	w := &Writer{secret: secret}
	return w, w.setKey()
}

// setKey makes the key of the present secret.
func (w *Writer) setKey() error {
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
func (w *Writer) record(kind byte, content []byte) []byte {
	inner := append(append([]byte(nil), content...), kind)
	head := binary.BigEndian.AppendUint16([]byte{recordApplication, 3, 3}, uint16(len(inner)+w.aead.Overhead()))
	nonce := append([]byte(nil), w.iv...)
	for i := range 8 {
		nonce[4+i] ^= byte(w.seq >> (56 - 8*i))
	}
	w.seq++
	return w.aead.Seal(head, nonce, inner, head)
}

// KeyUpdate seals a request for new keys, and goes on with new ones.
func (w *Writer) KeyUpdate() ([]byte, error) {
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
