package storage

import "fmt"

// DataError is the reason why a data directory can't be used: it is damaged,
// belongs to another node, or is accessible to others. Repeating does not
// help.
type DataError struct{ error }

// Unwrap returns the cause.
func (e DataError) Unwrap() error { return e.error }

// unusable returns a DataError.
func unusable(format string, args ...any) error { return DataError{fmt.Errorf(format, args...)} }
