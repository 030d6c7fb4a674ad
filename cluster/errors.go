package cluster

import (
	"errors"
	"fmt"

	"simpd/cluster/link"
)

// What Propose, Confirm and the acts of administration may end with.
var (
	// ErrUnavailable: certainly not done, and never will be; another time,
	// or at another node, it may.
	ErrUnavailable = link.ErrUnavailable
	// ErrUnknown: it may have been done, or may yet be.
	ErrUnknown = link.ErrUnknown
	// ErrRefused: certainly not done, and asking again won't help.
	ErrRefused = link.ErrRefused
	// ErrNotRemoved: no node of that id was removed from the site.
	ErrNotRemoved = errors.New("no such node was removed")
	// ErrBusy: more changes wait than this node holds. It is ErrUnavailable too.
	ErrBusy = fmt.Errorf("%w: too many changes wait for the leader", ErrUnavailable)
)

// DataError is why a data directory can't be used: it is damaged, another
// node's, or open to others. Trying again does not help.
type DataError struct{ error }

// Unwrap returns the cause.
func (e DataError) Unwrap() error { return e.error }

// unusable returns a DataError.
func unusable(format string, args ...any) error { return DataError{fmt.Errorf(format, args...)} }

// unavailable says why something was certainly not done.
func unavailable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnavailable, fmt.Errorf(format, args...))
}

// unknown says why it is not known whether something was done.
func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnknown, fmt.Errorf(format, args...))
}
