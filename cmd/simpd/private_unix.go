//go:build unix

package main

import "syscall"

// keepPrivate has every file that this process makes be its user's alone,
// those of libraries too: logs and snapshots hold what logins are checked with.
func keepPrivate() { syscall.Umask(0o077) }
