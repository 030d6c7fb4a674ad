package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables in docs/ anew")

// TestReferenceOptions: the docs name every option there is, as it is.
func TestReferenceOptions(t *testing.T) {
	var b strings.Builder
	b.WriteString("| flag | value | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, o := range allOptions() {
		fmt.Fprintf(&b, "| `--%s`%s | %s | %s | %s |\n", o.name, mark(o.reload), code(o.arg), code(o.standard), o.help)
	}
	checkTable(t, "../../docs/configuration.md", "options", b.String())
}

func mark(reload bool) string {
	if reload {
		return " ⟳"
	}
	return ""
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// checkTable compares what stands between two marks of a page with want, or
// writes it there.
func checkTable(t *testing.T, page, name, want string) {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	head, rest, ok := strings.Cut(string(content), begin)
	have, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks for %s", page, name)
	}
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("the table of %s in %s is not what the program has; run make generate", name, page)
	}
	if err := os.WriteFile(page, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
