package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// ownDir is the directory of a node below one that it can't have for itself.
	ownDir    = "simpd"
	lostFound = "lost+found" // at the root of ext4
)

// LocateData returns the directory that holds a node's data, or will hold it,
// where an operator has named dir. That is dir itself, or a directory simpd
// below it: where dir is the root of a volume, which has a lost+found, or
// belongs to another user, as a volume of Kubernetes does that is handed over
// by its group. Data that is in dir stays there. It changes nothing.
func LocateData(dir string) (string, error) { return locateData(dir, os.Geteuid()) }

func locateData(dir string, user int) (string, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || dir == "" {
		return dir, nil
	}
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory", dir)
	}
	own := filepath.Join(dir, ownDir)
	switch {
	case hasAny(dir, manifestFile, logFile, snapshotDir):
		return dir, nil
	case belongsTo(info, user) && !hasAny(dir, lostFound, filepath.Join(ownDir, manifestFile)):
		return dir, nil
	case info.Mode().Perm()&0o002 != 0:
		return "", fmt.Errorf("%s can be written by every user of this machine: name a directory that only this one can write", dir)
	}
	return own, checkOwner(own, user)
}

// checkOwner refuses a directory of somebody else's.
func checkOwner(dir string, user int) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() || !belongsTo(info, user) {
		return fmt.Errorf("%s is not a directory of this user (number %d): chown -R %d %s", dir, user, user, dir)
	}
	return nil
}

func hasAny(dir string, names ...string) bool {
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// CheckData refuses a directory that is no directory, or holds something and is
// open to others. It changes nothing.
func CheckData(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode(); mode.Perm()&0o077 != 0 && len(entries) > 0 && !isHandedOver(mode) {
		return fmt.Errorf("%s is open to others (mode %04o): chmod 700 %s", dir, mode.Perm(), dir)
	}
	return nil
}

// isHandedOver reports whether a directory has the mode that Kubernetes gives to
// every one of a volume with an fsGroup, each time that it is mounted.
func isHandedOver(mode fs.FileMode) bool {
	return mode&fs.ModeSetgid != 0 && mode.Perm()&0o070 != 0 && mode.Perm()&0o007 == 0
}

// PrepareData makes a directory that LocateData has returned, if it is not there,
// and closes it to others.
func PrepareData(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the data directory can't be made: %w: make one that belongs to this user (number %d), and is closed to others (mode 700)", err, os.Geteuid())
	}
	if err := ReclaimData(dir); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// ReclaimData closes a directory, and all that is in it, that Kubernetes has
// opened to the group of a volume. It leaves every other one as it is.
func ReclaimData(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !isHandedOver(info.Mode()) {
		return nil
	}
	if err != nil {
		return err
	}
	return closeAll(dir)
}

// CheckWritable returns why this user could not make a directory that is not
// there, or write to one that is.
func CheckWritable(dir string) error {
	for {
		err := checkAccess(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return err
		}
		dir = filepath.Dir(dir)
	}
}

// closeAll takes a directory and all that is in it away from the group.
func closeAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o700)
		case d.Type().IsRegular():
			return os.Chmod(path, 0o600)
		}
		return nil
	})
}
