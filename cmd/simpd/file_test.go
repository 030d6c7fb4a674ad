package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestDamagedFiles: whatever a configuration file has become, it is read or
// refused, and each problem is on one of its lines.
func TestDamagedFiles(t *testing.T) {
	whole := "node_id: n1\ndata_dir: \"here\" # a remark\ndomain: [a.example, 'b.example']\njoin:\n  - 127.0.0.1:1\n  - &x 127.0.0.1:2\n" +
		"insecure: true\ndrain_timeout: 1m\nnote: |\n  text\nmap: {a: 1, b: [2, 3]}\n? key\n: value\n--- \nnode_id: n2\n<<: *x\n"
	random := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "simpd.yaml")
	refused := 0
	for range 3000 {
		content := damage(random, whole)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, wrong := loadConfig(path, environment(nil), nil)
		for _, p := range wrong {
			if lines := len(linesOf(content)); p.at.line > lines {
				t.Fatalf("%v is not on one of the %d lines of %q", p, lines, content)
			}
			_ = p.Excerpt()
		}
		if len(wrong) > 0 {
			refused++
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// damage takes away, doubles or replaces parts of a text.
func damage(random *rand.Rand, text string) string {
	const odd = ":-[]{}#&*!|>'\"%@`,?\t\n\r \x00\xff"
	b := []byte(text)
	for range 1 + random.IntN(5) {
		if len(b) < 4 {
			break
		}
		i := random.IntN(len(b) - 2)
		j := min(len(b), i+1+random.IntN(20))
		switch random.IntN(4) {
		case 0:
			b = append(b[:i:i], b[j:]...)
		case 1:
			b = append(b[:j:j], b[i:]...)
		case 2:
			b[i] = odd[random.IntN(len(odd))]
		case 3:
			b = b[:j]
		}
	}
	return string(b)
}
