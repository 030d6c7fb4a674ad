package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// checkFolder wants a data folder that is absent, empty, or closed to others.
func checkFolder(name string) error {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", name)
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && len(entries) > 0 {
		return fmt.Errorf("%s is open to others (mode %04o): chmod 700 %s", name, mode, name)
	}
	return nil
}

// makeFolder makes a data folder that is closed to others.
func makeFolder(name string) error {
	if err := os.MkdirAll(name, 0o700); err != nil {
		return err
	}
	return os.Chmod(name, 0o700)
}
