//go:build unix

package secretfile

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

const hasModes = true

// isHandedOver reports whether a file is root's and this process another
// user's.
func isHandedOver(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid == 0 && os.Geteuid() != 0
}

// remedy says whose a file is that this user may not read, and what to do; empty
// where that can't be seen, such as in a folder that is closed.
func remedy(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return remedyFor(file, info.Mode().Perm(), userName(int(s.Uid)), userName(os.Geteuid()))
}

func remedyFor(file string, mode fs.FileMode, owner, reader string) string {
	return fmt.Sprintf(": it belongs to %s (mode %04o), and this program runs as %s: chown %s %s", owner, mode, reader, reader, file)
}

// userName returns the name of a user, or the number where there is no name.
func userName(uid int) string {
	number := strconv.Itoa(uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}
