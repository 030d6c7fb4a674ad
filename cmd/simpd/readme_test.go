package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestReadmeDialogue: what the README has a person type into a plain TCP
// connection is answered as it says.
func TestReadmeDialogue(t *testing.T) {
	n := serveInsecure(t, filepath.Join(t.TempDir(), "n1"))
	n.operate("alice@example.com,secret\nbob@example.com,secret\n", "account", "import", "-")
	conn := dial(t, n.address("simp-listen"))
	in := bufio.NewReader(conn)
	last := ""
	for _, line := range readmeBlock(t, "dialogue") {
		who, what, _ := strings.Cut(line, ":")
		what = strings.TrimPrefix(what, " ")
		if who == "C" {
			fmt.Fprintf(conn, "%s\r\n", what)
			continue
		}
		heard := readLine(t, in, last)
		if !pattern(what).MatchString(heard) {
			t.Fatalf("the README has %q, and the server says %q", what, heard)
		}
		if heard != "" {
			last = heard
		}
	}
	if last != "to myself" {
		t.Fatalf("the dialogue ends with %q", last)
	}
}

// readLine reads a line, or the rest of the literal of the last one.
func readLine(t *testing.T, in *bufio.Reader, last string) string {
	t.Helper()
	if m := regexp.MustCompile(` \{(\d+)\}$`).FindStringSubmatch(last); m != nil {
		size, _ := strconv.Atoi(m[1])
		if next, _ := in.Peek(2); string(next) == "\r\n" {
			_, _ = in.Discard(2)
			return ""
		}
		rest := make([]byte, size-2)
		if _, err := io.ReadFull(in, rest); err != nil {
			t.Fatal(err)
		}
		return string(rest)
	}
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatalf("after %q: %v", last, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// pattern is a line of the README in which … stands for anything.
func pattern(line string) *regexp.Regexp {
	parts := strings.Split(line, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
}

// readmeBlock returns the lines between two marks, without their fence.
func readmeBlock(t *testing.T, name string) []string {
	t.Helper()
	content, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(content), "<!-- begin "+name+" -->\n```text\n")
	block, _, ok2 := strings.Cut(rest, "\n```\n<!-- end "+name+" -->")
	if !ok || !ok2 {
		t.Fatalf("the README has no %s", name)
	}
	return strings.Split(block, "\n")
}

// TestReadmeIsShort: a README is read, or it is too long.
func TestReadmeIsShort(t *testing.T) {
	content, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(content), "\n"); n >= 150 {
		t.Errorf("it has %d lines", n)
	}
}
