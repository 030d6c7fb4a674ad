// Package protocol is the language of SIMP 1.0: addresses, lines, statuses,
// messages and presence, as values and grammar. SIMP.md beside it is the
// specification.
//
// It knows no network, no clock and no goroutine; it reads what it is given
// in linear time and bounded memory, and writes what reads back the same.
package protocol
