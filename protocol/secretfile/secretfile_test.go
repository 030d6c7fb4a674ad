package secretfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		mode       fs.FileMode
		handedOver bool
		ok         bool
	}{
		{0o600, false, true}, {0o400, false, true}, {0o000, false, true}, {0o700, false, true},
		{0o640, false, false}, {0o440, false, false}, {0o620, false, false}, {0o610, false, false},
		{0o604, false, false}, {0o602, false, false}, {0o601, false, false}, {0o644, false, false},
		{0o640, true, true}, {0o440, true, true}, {0o400, true, true},
		{0o660, true, false}, {0o644, true, false}, {0o444, true, false}, {0o650, true, false},
		{fs.ModeNamedPipe | 0o644, false, true},
	} {
		err := check("FILE", c.mode, c.handedOver)
		if (err == nil) != c.ok {
			t.Errorf("mode %v, handed over %v: %v", c.mode, c.handedOver, err)
		}
		if err != nil && !strings.HasSuffix(err.Error(), ": chmod 600 FILE") {
			t.Errorf("the error does not say what to do: %v", err)
		}
	}
}

func TestCheckFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := Check(link); err != nil {
		t.Errorf("a link to a private file: %v", err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, link} {
		if Check(name) == nil {
			t.Errorf("%s of mode 0640 is accepted", name)
		}
	}
	if Check(filepath.Join(dir, "none")) == nil {
		t.Error("a file that is not there is accepted")
	}
}

// TestReadWithoutMark: some editors begin a text with a byte order mark.
func TestReadWithoutMark(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("\uFEFFa secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(string) ([]byte, error){"Read": Read, "ReadPublic": ReadPublic} {
		if b, err := read(file); err != nil || string(b) != "a secret\n" {
			t.Errorf("%s returns %q, %v", name, b, err)
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil {
		t.Error("Read reads a file that is open to others")
	}
	if _, err := ReadPublic(file); err != nil {
		t.Errorf("ReadPublic: %v", err)
	}
}
