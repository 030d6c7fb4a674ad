package client_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// tokenLogin plays a server up to the end of an AUTH with a token.
func tokenLogin(p *outboundtest.Peer, token string) {
	p.LoginBy("OAUTHBEARER,PLAIN")
	data := base64.StdEncoding.EncodeToString([]byte("n,a=alice@example.com,\x01auth=Bearer " + token + "\x01\x01"))
	p.Answer("AUTH mech=OAUTHBEARER data="+data, "200 ima=alice@example.com")
}

// tokens returns tokens named t1, t2 and so on, which live for two minutes.
func tokens(config *client.Config) {
	n := 0
	config.Password = ""
	config.Token = func(context.Context) (client.Token, error) {
		n++
		return client.Token{Value: fmt.Sprint("t", n), Expiry: time.Now().Add(2 * time.Minute)}, nil
	}
}

// Before its token expires, a connection is replaced by another that listens
// before the old one is left.
func TestTokenIsRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		tokens(&config)
		c, p := s.open(config, func(p *outboundtest.Peer) { tokenLogin(p, "t1") })
		wait := doing(func() { p.Answer("LISTEN state=available", "200 session=a index=1") })
		if _, err := c.Listen(t.Context(), protocol.ListenRequest{State: protocol.Available}); err != nil {
			t.Fatal(err)
		}
		wait()
		began := time.Now()
		q := <-s.conns
		if after := time.Since(began); after < 85*time.Second || after > 95*time.Second {
			t.Errorf("the client has connected again after %v", after)
		}
		tokenLogin(q, "t2")
		q.Answer("LISTEN state=available", "200 session=b index=2")
		p.Answer("UNLISTEN", "200 index=3")
		p.Quit()
		go q.AnswerAll(func(string, string) string { return "200" })
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A session that ends with its token is followed by another, and not the end of
// the client.
func TestSessionThatEndedWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		tokens(&config)
		connected := make(chan struct{}, 1)
		config.OnEvent = func(e client.Event) {
			if e.Kind == client.Connected {
				connected <- struct{}{}
			}
		}
		c, p := s.open(config, func(p *outboundtest.Peer) { tokenLogin(p, "t1") })
		p.Say("* BYE status=401 :token expired")
		_ = p.Conn.Close()
		q := <-s.conns
		tokenLogin(q, "t2")
		<-connected
		go q.Quit()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A refused token ends the login with the server's refusal, after the client
// has taken note of the error.
func TestRefusedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		config := s.config()
		tokens(&config)
		err := attempt(t, s, config, func(p *outboundtest.Peer) {
			p.LoginBy("OAUTHBEARER")
			data := base64.StdEncoding.EncodeToString([]byte("n,a=alice@example.com,\x01auth=Bearer t1\x01\x01"))
			p.Answer("AUTH mech=OAUTHBEARER data="+data, "101 data="+base64.StdEncoding.EncodeToString([]byte(`{"status":"invalid_token"}`)))
			p.Answer("MORE data=AQ==", "401 :the token is not valid")
		})
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Status != protocol.StatusUnauthorized {
			t.Errorf("got %v", err)
		}
	})
}

func TestFindTokenProvider(t *testing.T) {
	find := func(t *testing.T, play func(p *outboundtest.Peer)) (protocol.TokenProvider, error) {
		s := newSite(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for p := range s.conns {
				play(p)
				_ = p.Conn.Close()
			}
		}()
		p, err := client.FindTokenProvider(t.Context(), s.config())
		close(s.conns)
		<-done
		return p, err
	}
	synctest.Test(t, func(t *testing.T) {
		got, err := find(t, func(p *outboundtest.Peer) {
			p.LoginBy("OAUTHBEARER")
			p.Answer("AUTH mech=OAUTHBEARER data="+base64.StdEncoding.EncodeToString([]byte("n,a=alice@example.com,\x01auth=\x01\x01")),
				"101 data="+base64.StdEncoding.EncodeToString([]byte(`{"status":"invalid_request","scope":"openid","openid-configuration":"https://login.example/x","client_id":"simp"}`)))
			p.Answer("MORE data=AQ==", "401 :the token is not valid")
		})
		if want := (protocol.TokenProvider{Configuration: "https://login.example/x", ClientID: "simp", Scope: "openid"}); err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := find(t, func(p *outboundtest.Peer) { p.LoginBy("PLAIN,X") }); !errors.Is(err, client.ErrNotSupported) {
			t.Errorf("without tokens: %v", err)
		}
	})
}
