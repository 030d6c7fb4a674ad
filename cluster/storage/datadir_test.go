package storage

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestLocateData: directories as operators and Kubernetes make them.
func TestLocateData(t *testing.T) {
	self := os.Geteuid()
	if self == 0 {
		self = 1000 // whose directories those of the test are made to be
	}
	other := self + 1
	dirs := func(t *testing.T, base string, names ...string) {
		for _, n := range names {
			must(t, os.MkdirAll(filepath.Join(base, n), 0o700))
		}
	}
	for _, tt := range []struct {
		name    string
		make    func(t *testing.T, dir string)
		mode    fs.FileMode
		user    int
		want    string // below dir
		refused string
	}{
		{"one of one's own", func(*testing.T, string) {}, 0o755, self, "", ""},
		{"the root of ext4", func(t *testing.T, dir string) { dirs(t, dir, "lost+found") }, 0o755, self, "simpd", ""},
		{"the root of ext4, used before", func(t *testing.T, dir string) { dirs(t, dir, "lost+found", "snapshots") }, 0o700, self, "", ""},
		{"a volume with fsGroup", func(*testing.T, string) {}, 0o775 | fs.ModeSetgid, other, "simpd", ""},
		{"one that all can write", func(*testing.T, string) {}, 0o777, other, "", "can be written by every user"},
		{"one below is a file", func(t *testing.T, dir string) { must(t, os.WriteFile(filepath.Join(dir, "simpd"), nil, 0o600)) }, 0o775, other, "", "is not a directory of this user"},
		{"one below is another's", func(t *testing.T, dir string) { dirs(t, dir, "simpd") }, 0o775, other, "", "is not a directory of this user"},
		{"one that is not there", func(t *testing.T, dir string) { must(t, os.Remove(dir)) }, 0, self, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.make(t, dir)
			if tt.mode != 0 {
				must(t, os.Chmod(dir, tt.mode))
			}
			if os.Geteuid() == 0 && tt.mode != 0 {
				must(t, os.Chown(dir, self, -1))
				must(t, os.Chmod(dir, tt.mode)) // chown takes setgid away
			}
			got, err := locateData(dir, tt.user)
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) {
					t.Errorf("located %s, %v, want %q", got, err, tt.refused)
				}
				return
			}
			if err != nil || got != filepath.Join(dir, tt.want) {
				t.Errorf("located %s, %v, want %s", got, err, filepath.Join(dir, tt.want))
			}
		})
	}
}

// TestDataBelowAVolume: a node keeps its data below the root of a volume, and
// finds it there again.
func TestDataBelowAVolume(t *testing.T) {
	volume := t.TempDir()
	must(t, os.Mkdir(filepath.Join(volume, "lost+found"), 0o700))
	must(t, os.Chmod(volume, 0o755))
	for range 2 {
		dir, err := LocateData(volume)
		must(t, err)
		must(t, CheckData(dir))
		must(t, PrepareData(dir))
		d, err := Open(dir, "example.com", "n1", nil, hclog.NewNullLogger())
		must(t, err)
		must(t, d.Close())
		if dir != filepath.Join(volume, "simpd") {
			t.Errorf("the data is in %s", dir)
		}
	}
	must(t, os.Remove(filepath.Join(volume, "lost+found"))) // as on a copy of the volume
	if dir, err := LocateData(volume); err != nil || dir != filepath.Join(volume, "simpd") {
		t.Errorf("on a copy: %s, %v", dir, err)
	}
}

// TestDataThatWasHandedOver: Kubernetes opens all that is on a volume with an
// fsGroup to that group, each time that it mounts the volume.
func TestDataThatWasHandedOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "simpd")
	must(t, PrepareData(dir))
	d, err := Open(dir, "example.com", "n1", nil, hclog.NewNullLogger())
	must(t, err)
	must(t, d.Close())
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		must(t, err)
		if e.IsDir() {
			return os.Chmod(path, 0o770|fs.ModeSetgid)
		}
		return os.Chmod(path, 0o660)
	}))
	must(t, CheckData(dir))
	must(t, PrepareData(dir))
	d, err = Open(dir, "example.com", "n1", nil, hclog.NewNullLogger())
	must(t, err)
	must(t, d.Close())
}

func TestCheckData(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	if err := CheckData(dir); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, logFile), nil, 0o600))
	if err := CheckData(dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a directory with data that all can read: %v", err)
	}
	must(t, os.Chmod(dir, 0o750))
	if err := CheckData(dir); err == nil {
		t.Error("a directory with data that a group can read is accepted")
	}
}

func TestCheckWritable(t *testing.T) {
	dir := t.TempDir()
	if err := CheckWritable(filepath.Join(dir, "a", "b")); err != nil {
		t.Errorf("below a directory of one's own: %v", err)
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if err := CheckWritable(filepath.Join(file, "a")); err == nil {
		t.Error("below a file nothing is wrong")
	}
}
