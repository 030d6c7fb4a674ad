package main

import (
	"log/slog"
	"strings"
	"testing"
)

// The accounts file's OpenID providers are checked key by key, without asking
// anybody.
func TestOIDCSource(t *testing.T) {
	secret := writeFile(t, "secret", "key\n")
	const issuer = "issuer: https://login.example.com, "
	for keys, want := range map[string]string{
		issuer + "audience: simp": "",
		issuer + "audience: [simp, other], algorithms: [RS256, ES256], address_claim: upn, verified_claim: always, client_id: simp, scope: openid": "",
		issuer + "audience: simp, introspection: https://login.example.com/i, introspection_id: simpd, introspection_secret_file: " + secret:       "",
		"audience: simp":                                                      "issuer is missing in login",
		issuer + "client_id: simp":                                            "audience is missing in login",
		"issuer: http://login.example.com, audience: simp":                    "must begin with https://",
		issuer + "audience: simp, algorithms: HS256":                          `invalid algorithm "HS256"`,
		issuer + "audience: simp, address_claim: upn":                         "set verified_claim too",
		issuer + "audience: simp, address_claim: email":                       "",
		issuer + "audience: simp, audiences: x":                               `unknown key "audiences"`,
		issuer + "audience: simp, introspection: https://login.example.com/i": "introspection_id and introspection_secret_file are required",
		issuer + "audience: simp, introspection_secret_file: /none":           "/none",
		issuer + "audience: simp, ca_file: " + secret:                         secret,
	} {
		path := writeFile(t, "accounts.yaml", "sources: {login: {type: oidc, "+keys+"}}\ndomains: {example.com: [login, table]}\n")
		f, wrong := readAccountsFile(path, []string{"example.com"}, sourceTypes())
		switch {
		case want == "" && len(wrong) > 0, want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0].Error(), want)):
			t.Errorf("%s: %v, want %q", keys, wrong, want)
		case want == "":
			set, err := f.newSet(slog.New(slog.DiscardHandler))
			if err != nil {
				t.Errorf("%s: %v", keys, err)
				continue
			}
			set.Sources["login"].Close()
		}
	}
}
