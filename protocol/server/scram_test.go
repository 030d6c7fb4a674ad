package server

import (
	"crypto/tls"
	"encoding/base64"
	"testing"

	"github.com/xdg-go/scram"

	"simpd/protocol/server/internal/sasl"
	"simpd/protocol/transcript"
)

// SCRAM, and SCRAM bound to the TLS connection that it is spoken on.
func TestSCRAM(t *testing.T) {
	h := newHarbour(t, nil)
	for _, mech := range []string{sasl.NameScram, sasl.NamePlus} {
		c := h.dialTLS()
		c.send("h HELLO version=SIMP/1.0")
		c.expect("h 200 <rest>")
		state := c.Conn.(*tls.Conn).ConnectionState()
		if line := c.scram(mech, "secret", &state); !transcript.Fits("a 200 ima=alice@example.com data=<any>", line) {
			t.Errorf("%s: %s", mech, line)
		}
		c.send("l LISTEN")
		c.expect("l 200 <rest>")
	}
}

// A proxy that holds a certificate which the client trusts sits in between:
// what is bound to one TLS connection does not fit the other.
func TestProxyBreaksTheBinding(t *testing.T) {
	h := newHarbour(t, nil)
	c, other := h.dialTLS(), h.dialTLS()
	c.send("h HELLO version=SIMP/1.0")
	c.expect("h 200 <rest>")
	state := other.Conn.(*tls.Conn).ConnectionState()
	if line := c.scram(sasl.NamePlus, "secret", &state); !transcript.Fits("a 401 :<rest>", line) {
		t.Error(line)
	}
}

// scram logs alice in and returns the final answer; if that is a 200 it has
// verified that the server knows the password.
func (c *client) scram(mech, password string, state *tls.ConnectionState) string {
	c.Helper()
	user, err := scram.SHA256.NewClient("alice@example.com", password, "")
	if err != nil {
		c.Fatal(err)
	}
	conversation := user.NewConversation()
	if mech == sasl.NamePlus {
		binding, err := scram.NewTLSExporterBinding(state)
		if err != nil {
			c.Fatal(err)
		}
		conversation = user.NewConversationWithChannelBinding(binding)
	}
	verb := "a AUTH mech=" + mech
	for challenge := ""; ; verb = "a MORE" {
		say, err := conversation.Step(challenge)
		if err != nil {
			c.Fatal(err)
		}
		c.send("%s data=%s", verb, base64.StdEncoding.EncodeToString([]byte(say)))
		line := c.line()
		if !transcript.Fits("a 101 data=<any>", line) {
			c.verify(conversation, line)
			return line
		}
		data, err := base64.StdEncoding.DecodeString(line[len("a 101 data="):])
		if err != nil {
			c.Fatal(err)
		}
		challenge = string(data)
	}
}

func (c *client) verify(conversation *scram.ClientConversation, line string) {
	c.Helper()
	const ok = "a 200 ima=alice@example.com data="
	if !transcript.Fits(ok+"<any>", line) {
		return
	}
	data, err := base64.StdEncoding.DecodeString(line[len(ok):])
	if err != nil {
		c.Fatal(err)
	}
	if _, err := conversation.Step(string(data)); err != nil || !conversation.Valid() {
		c.Fatalf("the server's signature is wrong: %v", err)
	}
}
