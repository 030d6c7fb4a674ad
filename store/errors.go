package store

import "errors"

// Errors of proposing changes to a table that several nodes share, wrapped in
// what happened.
var (
	// ErrUnavailable means that it was certainly not done, and may succeed later.
	ErrUnavailable = errors.New("not available now")
	// ErrUnknown means that it may have been done, or may yet be.
	ErrUnknown = errors.New("what became of it is not known")
)
