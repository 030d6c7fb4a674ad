package server

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestSpecification plays the conversations that protocol/SIMP.md shows.
func TestSpecification(t *testing.T) {
	octets, err := os.ReadFile("../SIMP.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```simp-transcript\n(.*?)```").FindAllStringSubmatch(string(octets), -1)
	if len(blocks) == 0 {
		t.Fatal("the specification shows no conversation")
	}
	for i, b := range blocks {
		t.Run(strconv.Itoa(i+1), func(t *testing.T) {
			play(t, nil, func(s *stage) { newTranscript(s, b[1]).play() })
		})
	}
}
