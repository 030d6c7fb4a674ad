package main

import (
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"
)

// supervisor is systemd, if it has started this process (Type=notify); else
// what is told to it is told to nobody.
type supervisor struct{ logger *slog.Logger }

// ready says that the listeners are open. Whether the node is part of a site
// by then is told by /readyz: one that waits for the others has started.
func (s supervisor) ready() { s.notify(daemon.SdNotifyReady) }

// waiting says what a start waits for. It counts as started, so that the boot
// of the machine and the installation of a package do not wait too.
func (s supervisor) waiting(why string) {
	s.notify("STATUS=waiting to start: " + why)
	s.ready()
}

// running takes back what waiting said, and says that the listeners are open.
func (s supervisor) running() {
	s.notify("STATUS=")
	s.ready()
}

func (s supervisor) reloading() { s.notify(daemon.SdNotifyReloading) }

// stopping says that the node drains.
func (s supervisor) stopping() { s.notify(daemon.SdNotifyStopping) }

func (s supervisor) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.logger.Warn("failed to notify systemd", "state", state, "error", err)
	}
}
