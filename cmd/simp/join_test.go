package main

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

func TestJoin(t *testing.T) {
	data := " data=" + base64.StdEncoding.EncodeToString([]byte("a new one"))
	const done = "simp --server SERVER --plaintext --user dave@example.com listen\n"
	for name, tt := range map[string]struct {
		args    []string
		answers []string
		env     map[string]string
		code    int
		out     string
		err     string
	}{
		"asked for all": {args: []string{"k3fm-7qpd"}, answers: []string{"dave@example.com", "a new one", "a new one"}, out: done},
		"the link":      {args: []string{"https://chat.example.com/#join=k3fm-7qpd", "dave@example.com"}, answers: []string{"a new one", "a new one"}, out: done},
		"a variable":    {args: []string{"k3fm-7qpd", "dave@example.com"}, env: map[string]string{"SIMP_PASSWORD": "a new one"}, out: done},
		"json": {
			args: []string{"k3fm-7qpd", "dave@example.com", "--output=json"}, env: map[string]string{"SIMP_PASSWORD": "a new one"},
			out: "{\"ima\":\"dave@example.com\"}\n",
		},
		"two passwords": {args: []string{"k3fm-7qpd", "dave@example.com"}, answers: []string{"one", "two"}, code: 1, err: "the two passwords differ"},
		"wrong code": {
			args: []string{"guess", "dave@example.com"}, answers: []string{"a new one", "a new one"}, code: 1, err: "the code is wrong (401)\n",
		},
		"no address":  {args: []string{"k3fm-7qpd", "dave"}, code: 2, err: "dave"},
		"no terminal": {args: []string{"k3fm-7qpd"}, code: 2, err: "give it after the code"},
		"no code":     {code: 2, err: "simp join requires the code of an invitation"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			env := map[string]string{"SIMP_SERVER": s.addr, "SIMP_PLAINTEXT": "true"}
			for k, v := range tt.env {
				env[k] = v
			}
			c := newConsole(env, tt.answers...)
			code := c.run(t.Context(), strings.NewReader(""), append([]string{"join"}, tt.args...)...)
			if code != tt.code || c.out.String() != strings.ReplaceAll(tt.out, "SERVER", s.addr) || !strings.Contains(c.err.String(), tt.err) {
				t.Errorf("exit %d, %q, %q", code, c.out.String(), c.err.String())
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if tt.code == 0 && !slices.Contains(s.requests, "JOIN code=k3fm-7qpd ima=dave@example.com"+data) {
				t.Errorf("said %q", s.requests)
			}
		})
	}
}
