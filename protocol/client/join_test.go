package client_test

import (
	"encoding/base64"
	"errors"
	"testing"
	"testing/synctest"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// joinAt has a client join while play says the server's part, and returns the
// error.
func joinAt(t *testing.T, play func(p *outboundtest.Peer)) error {
	t.Helper()
	s := newSite(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range s.conns {
			p.Say("* HELLO version=SIMP/1.1 domain=example.com")
			p.Answer("HELLO version=SIMP/1.1 domain=example.com", "200 version=SIMP/1.1 idle=300 auth=PLAIN history=h1")
			play(p)
			_ = p.Conn.Close()
		}
	}()
	err := client.Join(t.Context(), s.config(), "k3fm-7qpd")
	close(s.conns)
	<-done
	if len(s.dialled) != 1 {
		t.Errorf("dialled %q", s.dialled)
	}
	return err
}

const joinLine = "JOIN code=k3fm-7qpd ima=alice@example.com data="

func TestJoin(t *testing.T) {
	data := base64.StdEncoding.EncodeToString([]byte(outboundtest.Password))
	for name, tt := range map[string]struct {
		answer  string
		want    protocol.Status
		wantErr error
	}{
		"created":    {answer: "200 ima=alice@example.com"},
		"wrong code": {answer: "401 :the code is wrong", want: protocol.StatusUnauthorized},
		"taken":      {answer: "409 :taken", want: protocol.StatusWrongState},
		"later":      {answer: "503 :later", want: protocol.StatusUnavailable},
		"old server": {answer: "405 :unknown command JOIN", want: protocol.StatusUnknownVerb, wantErr: client.ErrNotSupported},
		"strange":    {answer: "201", wantErr: client.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := joinAt(t, func(p *outboundtest.Peer) { p.Answer(joinLine+data, tt.answer) })
				var refused *protocol.Error
				switch {
				case tt.want == 0 && tt.wantErr == nil && err != nil,
					tt.want != 0 && (!errors.As(err, &refused) || refused.Status != tt.want),
					tt.wantErr != nil && !errors.Is(err, tt.wantErr):
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A connection that ends before the answer leaves it open whether there is an
// account, and no other server is asked.
func TestJoinWithoutAnAnswer(t *testing.T) {
	for name, play := range map[string]func(p *outboundtest.Peer){
		"gone":   func(p *outboundtest.Peer) { p.Hear() },
		"silent": func(p *outboundtest.Peer) { p.Hear(); p.Gone() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := joinAt(t, play); !errors.Is(err, client.ErrJoinUncertain) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
