//go:build !unix

package secretfile

import "io/fs"

const hasModes = false

func isHandedOver(fs.FileInfo) bool { return false }

func remedy(string) string { return "" }
