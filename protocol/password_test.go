package protocol_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"simpd/protocol"
)

// The verifier is the one that RFC 5802 describes, as another implementation makes it.
func TestNewCredentials(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	got, err := protocol.NewCredentials("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	other, err := scram.SHA256.NewClient("user", "pencil", "")
	if err != nil {
		t.Fatal(err)
	}
	want, err := other.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if string(got.StoredKey) != string(want.StoredKey) || string(got.ServerKey) != string(want.ServerKey) {
		t.Errorf("got %x, want %x", got.StoredKey, want.StoredKey)
	}
	if !got.Fits("pencil") || got.Fits("pencil2") || got.Fits("") {
		t.Error("pencil fits, and nothing else")
	}
}

func TestPreparePassword(t *testing.T) {
	for in, want := range map[string]string{
		"secret":      "secret",
		"I\u00adX":    "IX",
		"\u2168":      "IX",
		"e\u0301":     "é",
		"🦫":           "🦫", // newer than SASLprep
		"a\u0627b":    "a\u0627b",
		"with spaces": "with spaces",
	} {
		if got := protocol.PreparePassword(in); got != want {
			t.Errorf("PreparePassword(%q) = %q, want %q", in, got, want)
		}
	}
}

// What may become a password, on both sides of each limit. Nothing of it is
// shown in an error.
func TestCheckPassword(t *testing.T) {
	wide := strings.Repeat("\uff41", 1024) // prepares to "a" each, from 3 octets
	for password, ok := range map[string]bool{
		"x": true, " ": true, "\u00a0": true, "🦫": true, "a\u0627b": true, "I\u00adX": true,
		strings.Repeat("p", 1024): true, strings.Repeat("p", 1025): false,
		wide: true, wide + "\uff41": false,
		strings.Repeat("\ufdfa", 31): true, strings.Repeat("\ufdfa", 32): false, // 33 octets each
		"a" + strings.Repeat("\u00ad", 2047): true, "aa" + strings.Repeat("\u00ad", 2048): false,
		"": false, "\u00ad": false, "\ufeff": false, "\u200b\u2060\ufeff": false, "\U000e0100": false, "\u3164": false, "\u202e": false,
		"a\x00b": false, "a\tb": false, "a\nb": false, "a\x7fb": false, "a\u0085b": false, "a\u2028b": false, "a\u2029b": false,
		"a\xffb": false, "\xed\xa0\x80": false,
	} {
		err := protocol.CheckPassword(password)
		if (err == nil) != ok {
			t.Errorf("CheckPassword(%.20q, %d octets): %v", password, len(password), err)
		}
		if _, err := protocol.NewCredentials(password, make([]byte, 16), protocol.MinScramIterations); (err == nil) != ok {
			t.Errorf("NewCredentials(%.20q): %v", password, err)
		}
		if len(password) > 1 && err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("the error shows the password %q", password)
		}
	}
}

// An account that is older than CheckPassword stays usable, but for the empty
// password, which anybody knows.
func TestFitsOldPasswords(t *testing.T) {
	c, err := protocol.EmptyCredentials(make([]byte, 16), protocol.MinScramIterations)
	if err != nil || !c.FitsEmpty() {
		t.Fatalf("the empty password's verifier is not found out: %v", err)
	}
	for _, password := range []string{"", "\u00ad", "\ufeff\u00ad"} {
		if c.Fits(password) {
			t.Errorf("%q fits", password)
		}
	}
	good, err := protocol.NewCredentials("x", make([]byte, 16), protocol.MinScramIterations)
	if err != nil || good.FitsEmpty() {
		t.Errorf("x is taken for the empty password: %v", err)
	}
	if tab := tabbed(); !tab.Fits("a\tb") {
		t.Error("an old password with a control character fits no more")
	}
}

// tabbed is the verifier of "a\tb", as the xdg implementation makes it.
func tabbed() protocol.Credentials {
	salt := make([]byte, 16)
	other, _ := scram.SHA256.NewClientUnprepped("user", "a\tb", "")
	c, _ := other.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: 4096})
	return protocol.Credentials{Salt: salt, Iterations: 4096, StoredKey: c.StoredKey, ServerKey: c.ServerKey}
}

func TestCredentialLimits(t *testing.T) {
	for _, c := range []struct {
		octets, iterations int
		ok                 bool
	}{
		{1, 4096, true}, {0, 4096, false}, {1024, 4096, true}, {1025, 4096, false}, {1, 4095, false}, {1, 1_000_001, false},
	} {
		if _, err := protocol.NewCredentials(strings.Repeat("p", c.octets), make([]byte, 16), c.iterations); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
