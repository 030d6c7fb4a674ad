package outbound

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"simpd/protocol"
)

// IntParam returns a numeric parameter; 0 if it is missing or invalid.
func IntParam(l *protocol.Line, key string) int {
	n, err := strconv.ParseUint(TextParam(l, key), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// UintParam is IntParam for numbers of 64 bits.
func UintParam(l *protocol.Line, key string) uint64 {
	n, err := strconv.ParseUint(TextParam(l, key), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// TextParam returns a parameter; "" if it is missing.
func TextParam(l *protocol.Line, key string) string {
	value, _ := l.Get(key)
	return value
}

// ParsePresence parses a PRESENCE, or a 100 line of WATCH or QUERY. It copies
// what it keeps of the line. An invalid note is dropped.
func ParsePresence(l *protocol.Line) (protocol.Presence, bool) {
	a, err := protocol.ParseAddress(strings.Clone(TextParam(l, "ima")))
	if err != nil {
		return protocol.Presence{}, false
	}
	p := protocol.Presence{Address: a, Index: UintParam(l, "index")}
	if note := TextParam(l, "note"); protocol.ValidNote(note) {
		p.Note = strings.Clone(note)
	}
	p.Since, _ = time.Parse(time.RFC3339Nano, TextParam(l, "since"))
	switch name := TextParam(l, "state"); name {
	case protocol.Deaf.String():
		p.State = protocol.Deaf
	default:
		listening, ok := protocol.ParseListening(name)
		if !ok {
			listening = protocol.Unknown
		}
		p.State = listening
	}
	return p, true
}

// AppendAddresses returns a function that appends a parameter for each address.
func AppendAddresses(addresses []protocol.Address) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, a := range addresses {
			b = protocol.AppendParam(b, "ima", a.String())
		}
		return b
	}
}

// AppendData appends the data of SASL in base64.
func AppendData(b []byte, data string) []byte {
	return protocol.AppendParam(b, "data", base64.StdEncoding.EncodeToString([]byte(data)))
}

// SplitToLines divides a list into parts whose addresses fit into a line, of
// which reserved octets are for something else.
func SplitToLines[T any](all []T, reserved int, address func(T) protocol.Address) (parts [][]T) {
	start, used := 0, 0
	for i, x := range all {
		need := len(protocol.AppendParam(nil, "ima", address(x).String()))
		if used+need > protocol.MaxLine-reserved {
			parts = append(parts, all[start:i])
			start, used = i, 0
		}
		used += need
	}
	if start < len(all) {
		parts = append(parts, all[start:])
	}
	return parts
}
