//go:build unix

package secretfile

import (
	"io/fs"
	"os"
	"syscall"
)

const hasModes = true

// isHandedOver reports whether a file is root's and this process another
// user's.
func isHandedOver(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid == 0 && os.Geteuid() != 0
}
