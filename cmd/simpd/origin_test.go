package main

import "testing"

func TestOriginsAsBrowsersSendThem(t *testing.T) {
	for in, want := range map[string]string{
		"https://chat.example.com":      "https://chat.example.com",
		"https://chat.example.com/":     "https://chat.example.com",
		"HTTPS://Chat.Example.COM":      "https://chat.example.com",
		"https://m\u00fcnchen.example":  "https://xn--mnchen-3ya.example",
		"https://chat.example.com:443":  "https://chat.example.com",
		"http://chat.example.com:80/":   "http://chat.example.com",
		"http://chat.example.com:443":   "http://chat.example.com:443",
		"https://chat.example.com:8443": "https://chat.example.com:8443",
		"chat.example.com":              "chat.example.com",
		"*.example.com":                 "*.example.com",
		"https://*.Example.com":         "https://*.example.com",
		"http://localhost:8080":         "http://localhost:8080",
		"http://localhost:*":            "http://localhost:*",
		"http://127.0.0.1:8080":         "http://127.0.0.1:8080",
		"http://[::1]:8080":             "http://[::1]:8080",
		"*":                             "*",
	} {
		if got, err := parseOrigin(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "https://", "https://a/b", "ftp://a.example", "https://user@a.example", "https://a example", "https://a.example?x#y", "https://[a", "https://a.example:99999", "https://a.example:x"} {
		if got, err := parseOrigin(in); err == nil {
			t.Errorf("%q is taken as %q", in, got)
		}
	}
}

func TestAByteOrderMarkBeforeTheConfiguration(t *testing.T) {
	file := write(t, "simpd.yaml", "\uFEFFnode_id: n1\ndomain: [a.example]\nbootstrap_expect: 1\ninsecure: true\ndata_dir: here\n", 0o600)
	if c, wrong := loadWith(t, file, nil); len(wrong) > 0 || c.nodeID != "n1" {
		t.Errorf("%v", wrong)
	}
}
