//go:build linux

package load

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// The tags of signing clients' requests: KEY add, and KEYS, which the tag of the
// message follows.
const (
	tagSign = "s"
	tagKeys = 'k'
)

// signer signs a client's messages, and verifies those that it receives as a
// real client does: it asks for the sender's keys when a message has come, and
// acknowledges the message once its signature is verified.
type signer struct {
	user    string
	key     ed25519.PrivateKey
	waiting map[string]*unverified // by the tag of KEYS
}

// unverified is a message whose sender's keys were asked for.
type unverified struct {
	signature.Message
	tag  []byte
	keys []signature.Key
}

// StartSigning makes a key and adds it to the user's list, and has the client
// sign and verify messages from now on. Events.Done tells when the key is
// known. Only clients that speak SIMP can.
func (c *Client) StartSigning() error {
	s, ok := c.speaker.(*simpSpeaker)
	if !ok {
		return fmt.Errorf("%s: messages can't be signed in this dialect", c.Name)
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	s.signer = &signer{user: c.Name, key: key, waiting: map[string]*unverified{}}
	out := protocol.AppendRequest(c.conn.Outbox(), tagSign, "KEY")
	c.write(protocol.AppendEnd(protocol.AppendParam(out, "add", base64.StdEncoding.EncodeToString(public))))
	return nil
}

// appendSend appends a signed SEND. Ids count in nanoseconds, so that no two
// are the same.
func (s *signer) appendSend(dst []byte, n uint64, to string, body []byte) ([]byte, error) {
	now := time.Now()
	id := strconv.FormatUint(n, 10) + "-" + strconv.FormatInt(now.UnixNano(), 36)
	claims := signature.Claims{From: s.user, To: []string{to}, ID: id, Time: now}
	entity, err := signature.Sign(s.key, claims, append([]byte("\r\n"), body...))
	if err != nil {
		return dst, err
	}
	dst = protocol.AppendRequest(dst, strconv.FormatUint(n, 10), "SEND")
	dst = protocol.AppendParam(dst, "to", to)
	dst = protocol.AppendParam(dst, "id", id)
	dst = append(protocol.AppendLiteral(dst, len(entity)), crlf...)
	return append(dst, entity...), nil
}

// receive keeps a message, and asks for its sender's keys.
func (s *signer) receive(c *Client, tag, text, entity []byte) error {
	var line protocol.Line
	if err := protocol.ParseLine(string(text), &line); err != nil {
		return err
	}
	param := func(name string) string { value, _ := line.Get(name); return value }
	at, err := time.Parse(protocol.TimeFormat, param("time"))
	if err != nil {
		return err
	}
	m := &unverified{tag: bytes.Clone(tag), Message: signature.Message{
		From: param("from"), Recipient: s.user, ID: param("id"), Time: at, Entity: bytes.Clone(entity),
	}}
	asked := string(append([]byte{tagKeys}, tag...))
	s.waiting[asked] = m
	out := protocol.AppendRequest(c.conn.Outbox(), asked, "KEYS")
	c.write(protocol.AppendEnd(protocol.AppendParam(out, "ima", m.From)))
	return nil
}

// response takes a line of a list of keys. With the last one it verifies and
// acknowledges the message.
func (s *signer) response(c *Client, text []byte) error {
	var line protocol.Line
	if err := protocol.ParseLine(string(text), &line); err != nil {
		return err
	}
	m := s.waiting[line.Tag]
	switch {
	case m == nil:
		return fmt.Errorf("%q: nobody asked for these keys", text)
	case line.Status == protocol.StatusPartial:
		k, err := parseKey(&line)
		m.keys = append(m.keys, k)
		return err
	case line.Status != protocol.StatusOK:
		return &Refusal{Verb: "KEYS", Status: line.Status, Text: line.Text}
	}
	delete(s.waiting, line.Tag)
	value, _ := line.Get("head")
	head, err := signature.ParseHead(value)
	if err != nil {
		return err
	}
	list, err := signature.NewKeyList(m.From, m.keys, head)
	if err != nil {
		return err
	}
	if v := signature.Classify(m.Message, list, signature.Knowledge{}); v.State != signature.Signed {
		return fmt.Errorf("a message of %s is %s: %w", m.From, v.State, v.Err)
	}
	c.write(appendStatus(c.conn.Outbox(), m.tag, protocol.StatusOK))
	c.Events.Message(c, m.Entity)
	return nil
}

// parseKey reads a key that no other one vouches for, and that is not revoked.
func parseKey(line *protocol.Line) (k signature.Key, err error) {
	param := func(name string) string { value, _ := line.Get(name); return value }
	if k.Key, err = base64.StdEncoding.DecodeString(param("key")); err != nil {
		return k, err
	}
	if k.Created, err = time.Parse(protocol.TimeFormat, param("created")); err != nil {
		return k, err
	}
	k.ID = param("kid")
	k.AddedAs, err = strconv.Atoi(param("record"))
	return k, err
}
