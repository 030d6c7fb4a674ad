package main

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"simpd/cmd/testkit/isolate"
	"simpd/cmd/testkit/site"
)

func powerLost(l *lab) ([]int, string, func() error, error) { return l.losePower(l.someNode()) }

func allPowerLost(l *lab) ([]int, string, func() error, error) { return l.losePower(l.site.Nodes...) }

// losePower has nodes lose what they have written and not synced, and end at
// the same moment.
func (l *lab) losePower(nodes ...*site.Node) ([]int, string, func() error, error) {
	for _, n := range nodes {
		_ = n.Signal(syscall.SIGSTOP) // it does nothing more; one that has ended meanwhile does nothing anyway
	}
	for _, n := range nodes {
		if err := unplug(n.Dir); err != nil {
			return nil, "", nil, err
		}
		n.Kill()
	}
	return numbers(nodes), "", func() error {
		for _, n := range nodes {
			if err := l.plugIn(n); err != nil {
				return err
			}
		}
		return revive(nodes)
	}, nil
}

// What ends a file system at once, without writing even its journal: ext4's
// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
const (
	shutDown   = 0x8004587d
	noLogFlush = 2
)

func unplug(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.IoctlSetPointerInt(int(d.Fd()), shutDown, noLogFlush); err != nil {
		return fmt.Errorf("the file system at %s does not end: %w", dir, err)
	}
	return nil
}

// plugIn mounts a node's disk as it was left.
func (l *lab) plugIn(n *site.Node) error {
	var err error
	for range 50 {
		if err = isolate.Run("umount", n.Dir); err == nil {
			return l.mountDisk(n)
		}
		l.pauseFor(100 * time.Millisecond) // something that looked at it may not have ended
	}
	return err
}
