package api

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestATokenIsRefusedAfterItsEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	synctest.Test(t, func(t *testing.T) {
		const token = "a-token-that-nobody-could-ever-guess"
		end := time.Now().Add(time.Hour)
		lines := tokenLine("a", token) + " role=presence:read until=" + end.Format(time.RFC3339) + "\n" + tokenLine("b", token+"2") + " role=presence:read\n"
		if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		tokens, err := LoadTokens(file)
		if err != nil {
			t.Fatal(err)
		}
		if ends := tokens.Ends(); len(ends) != 1 || ends[0].Name != "a" || !ends[0].End.Equal(end) || len(ends[0].Hash) != 16 {
			t.Errorf("the tokens' ends: %v", ends)
		}
		time.Sleep(time.Hour - time.Second)
		c, err := tokens.lookupToken(token)
		if err != nil || c.still() != nil {
			t.Fatalf("a second before the end: %v", err)
		}
		time.Sleep(time.Second)
		if c.still() == nil {
			t.Error("a stream goes on after the token's end")
		}
		if _, err := tokens.lookupToken(token); err == nil {
			t.Error("a call is let in after the token's end")
		}
		if _, err := tokens.lookupToken(token + "2"); err != nil {
			t.Errorf("the token without an end: %v", err)
		}
	})
}

func TestProgramsCertificatesAreKeptWhileTheyAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		var s seenCertificates
		serial := 0
		ending := func(in time.Duration) *x509.Certificate {
			serial++
			return &x509.Certificate{Raw: []byte(fmt.Sprint(serial)), NotAfter: time.Now().Add(in)}
		}
		expect := func(when string, programs ...string) {
			t.Helper()
			var names []string
			for _, c := range s.listSorted() {
				names = append(names, c.Program)
			}
			if !slices.Equal(names, programs) {
				t.Errorf("%s: %v, want %v", when, names, programs)
			}
		}
		disconnect := s.noteConnected("desk", ending(60*day))
		s.noteConnected("pager", ending(5*day))
		again := ending(20 * day)
		s.noteConnected("robot", again)()
		s.noteConnected("robot", again)()
		expect("at the start", "desk", "pager", "robot")
		time.Sleep(5*day + 1)
		expect("after the end of the pager's", "desk", "robot")
		time.Sleep(4 * day)
		expect("eight days after the robot has left", "desk")
		disconnect()
		time.Sleep(seenPeriod)
		expect("eight days after", "desk")
		time.Sleep(time.Nanosecond)
		expect("later")
		for range maxSeen + 1 {
			s.noteConnected("many", ending(day))
		}
		if n := len(s.listSorted()); n != maxSeen {
			t.Errorf("%d are kept", n)
		}
	})
}

func tokenLine(name, token string) string {
	return fmt.Sprintf("%s sha256:%x", name, sha256.Sum256([]byte(token)))
}
