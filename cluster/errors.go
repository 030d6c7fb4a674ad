package cluster

import (
	"errors"

	"simpd/cluster/peerrpc"
	"simpd/cluster/proposals"
)

// Errors of Propose, ReadBarrier and administrative operations.
var (
	// ErrUnavailable means that it was certainly not done, and never will be; at
	// another time or node it may succeed.
	ErrUnavailable = peerrpc.ErrUnavailable
	// ErrUnknown means that it may have been done, or may yet be.
	ErrUnknown = peerrpc.ErrUnknown
	// ErrRefused means that it was certainly not done, and that repeating it
	// does not help.
	ErrRefused = peerrpc.ErrRefused
	// ErrNotRemoved means that no node with that ID was removed from the site.
	ErrNotRemoved = errors.New("no such node was removed")
	// ErrBusy means that more changes are waiting than this node can hold. It is
	// also ErrUnavailable.
	ErrBusy = proposals.ErrBusy
)

// unavailable returns an ErrUnavailable with a reason.
func unavailable(format string, args ...any) error { return peerrpc.Unavailable(format, args...) }

// unknown returns an ErrUnknown with a reason.
func unknown(format string, args ...any) error { return peerrpc.Unknown(format, args...) }
