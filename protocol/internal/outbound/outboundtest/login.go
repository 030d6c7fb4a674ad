package outboundtest

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"

	"simpd/protocol"
)

// Password is that of the user whom Login lets in.
const Password = "correct horse"

const helloAnswer = "200 version=SIMP/1.0 domain=example.com size=65536 idle=300 auth=%s history=h1"

// Login plays all up to the end of AUTH.
func (p *Peer) Login() { p.LoginBy("PLAIN") }

// LoginBy is Login with another offer of mechanisms; AUTH is played for PLAIN only.
func (p *Peer) LoginBy(offer string) {
	p.t.Helper()
	p.Say("* HELLO version=SIMP/1.0 domain=example.com")
	p.Answer("HELLO version=SIMP/1.1 domain=example.com", fmt.Sprintf(helloAnswer, offer))
	if offer == "PLAIN" {
		data := base64.StdEncoding.EncodeToString([]byte("\x00alice@example.com\x00" + Password))
		p.Answer("AUTH mech=PLAIN data="+data, "200 ima=alice@example.com")
	}
}

// SCRAM plays a server that knows the password's verifier, or a wrong one.
func (p *Peer) SCRAM(mech, known string) {
	p.t.Helper()
	c, err := protocol.NewCredentials(known, []byte("0123456789abcdef"), 4096)
	if err != nil {
		p.t.Fatal(err)
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
		return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(c.Salt), Iters: c.Iterations}, StoredKey: c.StoredKey, ServerKey: c.ServerKey}, nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	talk := server.NewConversation()
	if mech == "SCRAM-SHA-256-PLUS" {
		state := p.Conn.(*tls.Conn).ConnectionState()
		binding, err := scram.NewTLSExporterBinding(&state)
		if err != nil {
			p.t.Fatal(err)
		}
		talk = server.NewConversationWithChannelBindingRequired(binding)
	}
	tag, first, _ := strings.Cut(p.Hear(), " AUTH mech="+mech+" data=")
	p.Say("%s 101 data=%s", tag, p.step(talk, first))
	final := p.Hear()
	_, final, _ = strings.Cut(final, "MORE data=")
	p.Say("%s 200 ima=alice@example.com data=%s", tag, p.step(talk, final))
}

func (p *Peer) step(talk *scram.ServerConversation, data string) string {
	p.t.Helper()
	said, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		p.t.Errorf("%q is not base64", data)
	}
	answer, err := talk.Step(string(said))
	if err != nil {
		p.t.Logf("SCRAM: %v", err)
	}
	return base64.StdEncoding.EncodeToString([]byte(answer))
}
