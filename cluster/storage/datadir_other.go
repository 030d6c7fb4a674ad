//go:build !unix

package storage

import (
	"io/fs"
	"os"
)

func belongsTo(fs.FileInfo, int) bool { return true }

func checkAccess(dir string) error {
	_, err := os.Stat(dir)
	return err
}
