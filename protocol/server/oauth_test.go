package server

import (
	"encoding/base64"
	"strings"
	"testing"

	"simpd/protocol"
)

// bearer is the data of an AUTH with a token.
func bearer(header, token string) string { return b64(header + "\x01auth=" + token + "\x01\x01") }

// withTokens has users of example.com log in with tokens.
func withTokens(s *stage) {
	s.site.methods.Tokens = true
	s.site.methods.Provider = &protocol.TokenProvider{Configuration: "https://login.example/.well-known/openid-configuration", ClientID: "simp", Scope: "openid email"}
}

func TestOAUTHBEARER(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.greeted()
		c.send("1 AUTH mech=OAUTHBEARER data=%s", bearer("n,,", "Bearer token-of-alice"))
		c.expect("1 400 :OAUTHBEARER is not offered here")
		withTokens(s)
		c = s.dial()
		c.send("h HELLO version=SIMP/1.1 domain=example.com")
		if line := c.expect("h 200 <rest>"); !strings.Contains(line, "auth=SCRAM-SHA-256,PLAIN,OAUTHBEARER ") {
			t.Error(line)
		}
		c.send("2 AUTH mech=OAUTHBEARER data=%s", bearer("n,,", "bearer token-of-alice"))
		c.expect("2 200 ima=alice@example.com")
		c = s.greeted()
		c.send("3 AUTH mech=OAUTHBEARER")
		c.expect("3 101 data=")
		c.send("3 MORE data=%s", b64("n,a=alice@example.com,\x01host=example.com\x01port=7467\x01auth=Bearer token-of-alice\x01\x01"))
		c.expect("3 200 ima=alice@example.com")
	})
}

// A token that is not valid is answered with the error as JSON, and with 401
// once the client has taken note of it. It is a failed login.
func TestInvalidTokens(t *testing.T) {
	play(t, nil, func(s *stage) {
		withTokens(s)
		for token, status := range map[string]string{"Bearer x": "invalid_token", "": "invalid_request"} {
			before := len(s.site.attempts)
			c := s.greeted()
			c.send("1 AUTH mech=OAUTHBEARER data=%s", bearer("n,a=alice@example.com,", token))
			data, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.expect("1 101 data=<any>"), "1 101 data="))
			want := `{"status":"` + status + `","scope":"openid email","openid-configuration":"https://login.example/.well-known/openid-configuration","client_id":"simp"}`
			if string(data) != want {
				t.Errorf("got %s, want %s", data, want)
			}
			c.send("1 MORE data=AQ==")
			c.expect("1 401 :the token is not valid")
			if counted := len(s.site.attempts) - before; counted != len(strings.Fields(token))/2 {
				t.Errorf("%q: %d failures are counted", token, counted)
			}
		}
		c := s.greeted()
		c.send("2 AUTH mech=OAUTHBEARER data=%s", bearer("n,,", "Bearer later"))
		c.expect("2 503 <rest>")
	})
}

func TestOAUTHBEARERWantsWhatItSays(t *testing.T) {
	play(t, nil, func(s *stage) {
		withTokens(s)
		c := s.greeted()
		for _, data := range []string{
			"", "n,,", "n,,\x01\x01", "n,,\x01auth=Bearer x\x01", "p=tls-exporter,,\x01auth=Bearer x\x01\x01", "n,x=y,\x01auth=Bearer x\x01\x01",
			"n,,\x01auth=Basic x\x01\x01", "n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", "n,,\x01auth=Bearer x y\x01\x01", "n,a=alice,\x01auth=Bearer x\x01\x01",
		} {
			c.send("1 AUTH mech=OAUTHBEARER data=%s", b64(data))
			c.expect("1 400 :<rest>")
		}
	})
	play(t, func(c *Config) { c.Insecure = false }, func(s *stage) {
		withTokens(s)
		c := s.greeted()
		c.send("1 AUTH mech=OAUTHBEARER data=%s", bearer("n,,", "Bearer token-of-alice"))
		c.expect("1 421 :<rest>")
	})
}
