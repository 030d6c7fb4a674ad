package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// newProvider starts an OpenID provider at which everybody has signed in.
func newProvider(t *testing.T) string {
	mux := http.NewServeMux()
	p := httptest.NewServer(mux)
	t.Cleanup(p.Close)
	for path, content := range map[string]string{
		"/configuration": `{"token_endpoint":"` + p.URL + `/token","device_authorization_endpoint":"` + p.URL + `/device"}`,
		"/device":        `{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://login.example/device","expires_in":600,"interval":1}`,
		"/token":         `{"access_token":"t1","token_type":"Bearer","expires_in":3600}`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, content)
		})
	}
	return p.URL
}

// After simp login, commands need no password; after simp logout they do again.
func TestLoginWithABrowser(t *testing.T) {
	s := newSite(t)
	s.setTokenProvider(newProvider(t))
	env := map[string]string{"SIMP_SERVER": s.addr, "SIMP_USER": "alice@example.com", "SIMP_PLAINTEXT": "true", "XDG_DATA_HOME": t.TempDir()}
	run := func(code int, want string, args ...string) {
		t.Helper()
		c := newConsole(env)
		if got := c.run(t.Context(), strings.NewReader(""), args...); got != code || !strings.Contains(c.out.String()+c.err.String(), want) {
			t.Errorf("simp %v: exit %d, %q, %q; want %d and %q", args, got, c.out.String(), c.err.String(), code, want)
		}
	}
	run(2, "there is no terminal to ask for the password", "send", "bob@example.com", "hello")
	run(0, "open https://login.example/device in a browser, and enter the code WDJB-MJHT", "login")
	run(0, "delivered to bob@example.com", "send", "bob@example.com", "hello")
	run(0, "", "logout")
	run(1, "no login of alice@example.com is kept here", "logout")
	run(2, "there is no terminal to ask for the password", "send", "bob@example.com", "hello")

	s.setTokenProvider("")
	run(1, "users of example.com can't log in with tokens", "login")
}
