package client_test

import (
	"strings"
	"testing"

	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// A server can send a client elsewhere by MOVE, but not to somebody who has no
// certificate for the domain: then the client stays where it is.
func TestMoveToAnImpostor(t *testing.T) {
	s := newSite(t)
	s.pipe = loopback(t)
	wrong, _ := certificate(t, "evil.example.net")
	refused := make(chan client.Event, 16)
	config := s.config()
	config.Security = client.StartTLS
	config.OnEvent = func(e client.Event) { refused <- e }
	c, p := s.open(config, func(p *outboundtest.Peer) {
		if err := p.StartTLS(s.cert); err != nil {
			t.Error(err)
		}
		p.Login()
	})
	p.Say("* MOVE to=evil.example.net:7467 within=4 :come here")
	impostor := <-s.conns
	if err := impostor.StartTLS(wrong); err == nil {
		if b, err := impostor.Reader.ReadByte(); err == nil {
			t.Errorf("the client says %q to an impostor", b)
		}
	}
	if e := <-refused; e.Kind != client.Retrying || !strings.Contains(e.Text, "certificate") {
		t.Errorf("told %+v", e)
	}
	wait := doing(func() { p.Answer("PING", "200") })
	if _, err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	wait()
	go p.Quit()
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
