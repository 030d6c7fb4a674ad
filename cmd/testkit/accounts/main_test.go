package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhatIsMissingIsNamed(t *testing.T) {
	empty := []string{t.TempDir()}
	if p, err := findSlapd(empty); err == nil || !strings.Contains(err.Error(), "missing: slapd, slapadd") {
		t.Errorf("%+v: %v", p, err)
	}
	if v, err := findSamba(empty); err == nil || !strings.Contains(err.Error(), "missing: samba, samba-tool") {
		t.Errorf("%+v: %v", v, err)
	}
	t.Setenv("PATH", empty[0])
	if p, err := startProvider(t.TempDir()); err == nil || !strings.Contains(err.Error(), "missing: node, npm") {
		t.Errorf("%+v: %v", p, err)
	}
}

// A browser sends what is hidden in each form, and the name and the password.
func TestSignIn(t *testing.T) {
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_ = r.ParseForm()
			sent = append(sent, r.URL.Path+" "+r.PostForm.Encode())
		}
		switch r.URL.Path {
		case "/device":
			fmt.Fprint(w, `<form method="post" action="/login"><input type="hidden" name="x" value="a&amp;b"/></form>`)
		case "/login":
			fmt.Fprint(w, `<form method="post" action="done"><input name="login" type="text"><input name="password"><button name="abort" value="1">no</button></form>`)
		default:
			fmt.Fprint(w, `<title>Signed in</title>`)
		}
	}))
	defer server.Close()
	title, err := signIn(server.URL+"/device", "dora")
	if got := strings.Join(sent, ", "); err != nil || title != "Signed in" || got != "/login x=a%26b, /done login=dora&password=dora" {
		t.Errorf("%q, %v: %s", title, err, got)
	}
}
