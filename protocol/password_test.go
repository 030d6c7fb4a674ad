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
