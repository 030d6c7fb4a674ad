package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// TestReferenceSources: the handbook names every key of every type of account
// source.
func TestReferenceSources(t *testing.T) {
	for _, kind := range sourceTypes() {
		var b strings.Builder
		b.WriteString("| key | value | default | meaning |\n| --- | --- | --- | --- |\n")
		keys, _ := kind.begin()
		for _, k := range keys {
			required := ""
			if k.required {
				required = " (required)"
			}
			fmt.Fprintf(&b, "| `%s`%s | %s | %s | %s |\n", k.name, required, code(k.arg), code(k.standard), k.help)
		}
		checkTable(t, "../../docs/operators/accounts.md", "source "+kind.name, b.String())
	}
}

// TestAccountsExamples: the accounts files of the handbook are right.
func TestAccountsExamples(t *testing.T) {
	keys := makeKeys(t, "n1")
	examples := pageBlocks(t, "accounts.md", "yaml")
	if len(examples) < 3 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, example := range examples {
		for _, file := range regexp.MustCompile(`/etc/simpd/[a-z-]+(\.pem)?\b`).FindAllString(example, -1) {
			path := writeFile(t, "secret", "secret")
			if strings.HasSuffix(file, ".pem") {
				path = filepath.Join(keys, "ca.crt")
			}
			example = strings.ReplaceAll(example, "_file: "+file, "_file: "+path)
		}
		_, wrong := readAccountsFile(writeFile(t, "accounts.yaml", example), []string{"example.com", "example.net"}, sourceTypes())
		for _, p := range wrong {
			t.Errorf("%v\n%s", p, p.Excerpt())
		}
	}
}
