// Package secretfile decides which files may hold a secret: a private key, the
// tokens of programs, the keys of gossip. All programs ask it about all of
// them.
package secretfile

import (
	"fmt"
	"io/fs"
	"os"
)

// What of a file's mode lets others than its owner at a secret.
const (
	groupOrOthers   = 0o077
	exceptGroupRead = 0o037
)

// Check refuses a file that others than the user of this process can read,
// write or execute. Links are followed. A file that is root's, where this
// process is not, may be readable by its group: systemd and Kubernetes hand
// secrets to a service that way, and the service could not read them
// otherwise. What is no regular file, such as a pipe, is not refused. The error
// says what to do. Where files have no mode nothing is refused.
func Check(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return check(file, info.Mode(), isHandedOver(info))
}

func check(file string, mode fs.FileMode, handedOver bool) error {
	refused := fs.FileMode(groupOrOthers)
	if handedOver {
		refused = exceptGroupRead
	}
	if !mode.IsRegular() || !hasModes || mode.Perm()&refused == 0 {
		return nil
	}
	return fmt.Errorf("%s can be used by others (mode %04o): chmod 600 %s", file, mode.Perm(), file)
}
