package outbound

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
)

// saidConn is a connection on which this comes, and then its end.
type saidConn struct {
	net.Conn
	said io.Reader
}

func (c saidConn) Read(p []byte) (int, error) { return c.said.Read(p) }

// Messages of all lengths are read as they were sent, wherever a line before
// them was cut from what came.
func TestMessagesAreReadWhole(t *testing.T) {
	for _, n := range []int{0, 1, 1000, bodyAtOnce - 1, bodyAtOnce, bodyAtOnce + 1, 2 * bodyAtOnce, 5*bodyAtOnce + 7} {
		for _, rest := range []int{0, min(n, 1), min(n/2, wireBuffer), min(n, wireBuffer)} {
			body := bytes.Repeat([]byte("message"), n/7+1)[:n]
			said := append(bytes.Clone(body), "next"...)
			w := &wire{Conn: saidConn{said: bytes.NewReader(said[rest:])}, unread: said[:rest]}
			got, err := w.readLiteral(n, n)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d octets, %d of them read before: %d came, %v", n, rest, len(got), err)
			}
		}
	}
}

// A length that a server announces takes no memory before its octets come.
func TestAnAnnouncedMessageTakesNoMemory(t *testing.T) {
	const announced, came, times = 64 << 20, 1000, 8
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		w := &wire{Conn: saidConn{said: bytes.NewReader(make([]byte, came))}}
		if _, err := w.readLiteral(announced, announced); err == nil {
			t.Fatal("a message came that was not sent")
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / times; n > 4*bodyAtOnce {
		t.Errorf("%d octets are allocated for %d that came", n, came)
	}
}
