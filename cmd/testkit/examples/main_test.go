package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"testing"
)

const root = "../../.."

// Where Python and what the examples need of it are installed, their types are
// checked with the tests too; make examples-test insists on it, and runs them.
func TestPythonExamplesAreTyped(t *testing.T) {
	python, missing := findPython()
	if len(missing) > 0 || findPlugins() != nil {
		t.Logf("not tried here: %q and %q are missing", missing, findPlugins())
		return
	}
	t.Parallel()
	if err := pythonExamples(python).build(root, t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := findLanguages()
	for _, tool := range []string{"protoc-gen-mypy", "protoc-gen-mypy_grpc", "node", "npm"} {
		if err == nil || !strings.Contains(err.Error(), tool) {
			t.Errorf("%v does not name %s", err, tool)
		}
	}
}

// The lock file says which packages are meant by their hashes, and leaves it to
// whoever installs them where they come from.
func TestTheLockFileNamesNoRegistry(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/examples/typescript/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Version, Resolved, Integrity string }
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	for name, p := range lock.Packages {
		if name != "" && (p.Resolved != "" || !strings.HasPrefix(p.Integrity, "sha512-")) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestProxyPassesOnUntilItIsCut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := newProxy(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for range 2 { // after a cut there may be new connections
		from, err := net.Dial("tcp", p.address())
		if err != nil {
			t.Fatal(err)
		}
		to, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := from.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(to, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		p.cut()
		if _, err := from.Read(make([]byte, 1)); err == nil {
			t.Error("the connection was not cut")
		}
		from.Close()
		to.Close()
	}
}
