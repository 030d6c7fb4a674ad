package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"simpd/protocol"
)

// Thirty ways to end a line, or not to. CRLF alone ends one; nothing is
// ever repaired.
func TestLineEndings(t *testing.T) {
	bare := protocol.ErrBareCR
	for i, c := range []struct {
		in   string
		n    int // of the first line; 0: not whole yet
		want error
	}{
		{"\r\n", 2, nil},
		{"a\r\n", 3, nil},
		{"a\r\nb\r\n", 3, nil},
		{"a\r\n\r\n", 3, nil},
		{"", 0, nil},
		{"a", 0, nil},
		{"\r", 0, nil},
		{"a\r", 0, nil},
		{"\n", 0, protocol.ErrBareLF},
		{"a\n", 0, protocol.ErrBareLF},
		{"a\nb\r\n", 0, protocol.ErrBareLF},
		{"a\n\r\n", 0, protocol.ErrBareLF},
		{"\n\r", 0, protocol.ErrBareLF},
		{"a\n\n", 0, protocol.ErrBareLF},
		{"a\r\r\n", 0, bare},
		{"\r\r\n", 0, bare},
		{"\r\r", 0, bare},
		{"a\rb", 0, bare},
		{"a\rb\r\n", 0, bare},
		{"a\rb\n", 0, bare},
		{"a\r b\r\n", 0, bare},
		{"a\r\x00\n", 0, bare},
		{"a\x00\r\n", 0, protocol.ErrNUL},
		{"\x00\r\n", 0, protocol.ErrNUL},
		{"a\x00", 0, protocol.ErrNUL},
		{"a\r\n\n", 3, nil}, // the second line's fault is found when its turn comes
		{"a\u2028\r\n", 6, nil},
		{"a\u0085\r\n", 5, nil},
		{"a\v\f\r\n", 5, nil}, // ends no line; ParseLine refuses it
		{"a\\r\\n\r\n", 7, nil},
		{"a%0d%0a\r\n", 9, nil},
		{"a\u560a\u560d\r\n", 9, nil}, // whose low octets are LF and CR
		{"a\xc0\x8a\r\n", 0, protocol.ErrUTF8},
		{"a\xff\r\n", 0, protocol.ErrUTF8},
		{"a\xc3\r\n", 0, protocol.ErrUTF8},
		{"a\xed\xa0\x80\r\n", 0, protocol.ErrUTF8},
	} {
		if n, err := protocol.ScanLine([]byte(c.in)); n != c.n || !errors.Is(err, c.want) {
			t.Errorf("%d: ScanLine(%q) = %d, %v; want %d, %v", i, c.in, n, err, c.n, c.want)
		}
	}
}

func TestScanLineLimit(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		in   string
		n    int
		want error
	}{
		{x(4094) + "\r\n", 4096, nil},
		{x(4095) + "\r\n", 0, protocol.ErrLineTooLong},
		{x(4095), 0, nil},
		{x(4096), 0, protocol.ErrLineTooLong},
		{x(4094) + "\r", 0, nil},
		{x(4095) + "\r", 0, protocol.ErrLineTooLong},
		{x(4094) + "\n", 0, protocol.ErrBareLF},
		{x(1 << 20), 0, protocol.ErrLineTooLong},
		{x(1<<20) + "\r\n", 0, protocol.ErrLineTooLong},
	} {
		if n, err := protocol.ScanLine([]byte(c.in)); n != c.n || err != c.want {
			t.Errorf("%d octets: %d, %v; want %d, %v", len(c.in), n, err, c.n, c.want)
		}
	}
}

// scanAll cuts data into lines as a reader does that gets it in pieces of the
// given size, and returns them with the error that ended it.
func scanAll(data []byte, size int) (lines []string, end error) {
	var buf []byte
	for {
		n, err := protocol.ScanLine(buf)
		switch {
		case err != nil:
			return lines, err
		case n > 0:
			lines = append(lines, string(buf[:n]))
			buf = buf[n:]
		case len(data) == 0:
			return lines, nil
		default:
			size = min(size, len(data))
			buf = append(buf, data[:size]...)
			data = data[size:]
		}
	}
}

// However the octets are cut into pieces, the lines are the same, and what is
// refused is refused.
func FuzzScanLine(f *testing.F) {
	f.Add([]byte("1 PING\r\n2 QUIT\r\n"), 1)
	f.Add([]byte("1 SEND to=a@b {3}\r\n\r\nx"), 3)
	f.Add([]byte("a\rb\r\n"), 2)
	f.Add([]byte("a\nb\r\n"), 2)
	f.Add([]byte("a\x00\r\n\xff\r\n"), 5)
	f.Add(bytes.Repeat([]byte("x"), 5000), 100)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		size = 1 + (size&0x7fffffff)%4096
		whole, wholeErr := scanAll(data, len(data)+1)
		pieces, piecesErr := scanAll(data, size)
		if (wholeErr == nil) != (piecesErr == nil) || fmt.Sprint(whole) != fmt.Sprint(pieces) {
			t.Fatalf("at once: %q, %v; by %d: %q, %v", whole, wholeErr, size, pieces, piecesErr)
		}
		for _, line := range whole {
			if len(line) > protocol.MaxLine || strings.IndexByte(line, '\n') != len(line)-1 || strings.IndexByte(line, '\r') != len(line)-2 {
				t.Fatalf("%q is no line", line)
			}
		}
	})
}
