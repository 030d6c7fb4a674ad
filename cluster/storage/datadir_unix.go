//go:build unix

package storage

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// belongsTo reports whether a user, by number, may do with a file what its owner may.
func belongsTo(info fs.FileInfo, user int) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return !ok || user == 0 || int(s.Uid) == user
}

// checkAccess returns why this user can't write to a directory.
func checkAccess(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "write", Path: dir, Err: err}
	}
	return nil
}
