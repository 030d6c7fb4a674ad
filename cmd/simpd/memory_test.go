package main

import "testing"

func TestMemoryLimit(t *testing.T) {
	for text, want := range map[string]int64{
		"1073741824\n": 966367638, "max\n": 0, "": 0, "-1": 0, "99999999999999999999": 0,
	} {
		if got, ok := memoryLimit(text); got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %v; want %d", text, got, ok, want)
		}
	}
}
