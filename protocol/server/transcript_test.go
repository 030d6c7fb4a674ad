package server

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"simpd/protocol/transcript"
)

// TestTranscripts plays the conversations in testdata. Those in testdata/clear
// are for a server without TLS; all others fit every server.
func TestTranscripts(t *testing.T) {
	for _, pattern := range []string{"testdata/*.txt", "testdata/clear/*.txt"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal("no transcripts", err)
		}
		for _, file := range files {
			octets, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(strings.TrimPrefix(file, "testdata/"), ".txt")
			t.Run(name, func(t *testing.T) { converse(t, string(octets)) })
		}
	}
}

// TestSpecification plays the conversations that protocol/SIMP.md shows.
func TestSpecification(t *testing.T) {
	octets, err := os.ReadFile("../SIMP.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := transcript.Blocks(string(octets))
	if len(blocks) == 0 {
		t.Fatal("the specification shows no conversation")
	}
	for i, b := range blocks {
		t.Run(strconv.Itoa(i+1), func(t *testing.T) { converse(t, b) })
	}
}

// converse holds a conversation on a stage of its own.
func converse(t *testing.T, text string) {
	play(t, nil, func(s *stage) {
		transcript.Stage{
			Dial:     func(string) (net.Conn, error) { return s.listener.dial(roomy, s.source), nil },
			Patience: 10 * time.Minute,
		}.Play(s, text)
	})
}
