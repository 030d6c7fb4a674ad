package acmecert_test

import (
	"bytes"
	"errors"
	"testing"

	"simpd/cluster/acmecert"
)

func TestSealedValuesAreOpenedByTheirKeyAndNameAlone(t *testing.T) {
	old, current := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	sealed, err := acmecert.Seal(old, "a", []byte("secret"))
	if err != nil || bytes.Contains(sealed, []byte("secret")) {
		t.Fatalf("sealed: %q, %v", sealed, err)
	}
	for _, keys := range [][][]byte{{old}, {current, old}} {
		value, isFirst, err := acmecert.Open(keys, "a", sealed)
		if string(value) != "secret" || isFirst != (len(keys) == 1) || err != nil {
			t.Errorf("with %d keys: %q, %v, %v", len(keys), value, isFirst, err)
		}
	}
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for what, open := range map[string]func() ([]byte, bool, error){
		"with another key":   func() ([]byte, bool, error) { return acmecert.Open([][]byte{current}, "a", sealed) },
		"without a key":      func() ([]byte, bool, error) { return acmecert.Open(nil, "a", sealed) },
		"under another name": func() ([]byte, bool, error) { return acmecert.Open([][]byte{old}, "b", sealed) },
		"damaged":            func() ([]byte, bool, error) { return acmecert.Open([][]byte{old}, "a", damaged) },
		"cut":                func() ([]byte, bool, error) { return acmecert.Open([][]byte{old}, "a", sealed[:8]) },
	} {
		if value, _, err := open(); value != nil || !errors.Is(err, acmecert.ErrSealed) {
			t.Errorf("%s: %q, %v", what, value, err)
		}
	}
}
