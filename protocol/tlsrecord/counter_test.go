package tlsrecord

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol/tlsrecord/tlsrecordtest"
)

// come has so many records come, of which some are returned.
func come(c *Counter, records, returned int) error {
	c.Took(bytes.Repeat([]byte{23, 3, 3, 0, 2, 'x', 'y'}, records))
	for range returned {
		c.Returned()
	}
	return c.Check()
}

// So many records may carry nothing, and then one a minute; those that carry
// something are without a limit.
func TestRecordsWithoutDataAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Counter
		if err := come(&c, 1000, 0); err != nil {
			t.Fatal("within the handshake:", err)
		}
		c.Begin()
		for _, step := range []struct {
			records, returned int
			wait              time.Duration
			err               error
		}{
			{10_000, 10_000, 0, nil},
			{3, 20, 0, nil}, // long records, returned in pieces: no credit
			{Burst, 0, 0, nil},
			{100, 100, 0, nil},
			{101, 100, 0, ErrTooMany},
			{1, 0, time.Minute, nil},
			{1, 0, 0, ErrTooMany},
			{1 << 20, 0, 24 * time.Hour, ErrTooMany},
		} {
			time.Sleep(step.wait)
			if err := come(&c, step.records, step.returned); err != step.err {
				t.Errorf("%+v: %v", step, err)
			}
		}
	})
}

// However a stream is cut up, its records are found.
func TestRecordsAreFoundInPieces(t *testing.T) {
	stream := append(bytes.Repeat([]byte{23, 3, 3, 1, 0}, 1), make([]byte, 256)...)
	stream = append(stream, 23, 3, 3, 0, 0)
	stream = bytes.Repeat(append(stream, 23, 3, 3, 0, 1, 'x'), 10)
	for size := 1; size < 600; size++ {
		var c Counter
		for rest := stream; len(rest) > 0; {
			n := min(size, len(rest))
			c.Took(rest[:n])
			rest = rest[n:]
		}
		if c.records != 30 || c.have != 0 {
			t.Fatalf("%d records in pieces of %d", c.records, size)
		}
	}
}

// Real TLS: short and long records pass, however they are read, and requests
// for new keys end it once there were too many.
func TestKeyUpdatesEndAConnection(t *testing.T) {
	https := httptest.NewTLSServer(nil) // it has a certificate
	defer https.Close()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	below := NewBelow(there)
	server := tls.Server(below, &tls.Config{Certificates: https.TLS.Certificates})
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	_ = here.SetDeadline(time.Now().Add(30 * time.Second))
	shaken := make(chan error, 1)
	go func() { shaken <- server.HandshakeContext(ctx) }()
	w, err := tlsrecordtest.Handshake(ctx, here, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, here)
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	var stream, want []byte
	for i := range 3000 {
		text := bytes.Repeat([]byte{byte(i)}, 1+i%3*i)
		stream, want = append(stream, w.Data(string(text))...), append(want, text...)
	}
	for _, updates := range []int{Burst, 100} {
		octets, err := w.Updates(updates, "x")
		if err != nil {
			t.Fatal(err)
		}
		stream = append(stream, octets...)
	}
	want = append(want, bytes.Repeat([]byte("x"), Burst)...)
	go here.Write(stream)
	got, err := io.ReadAll(below.Above(server))
	if !errors.Is(err, ErrTooMany) || !bytes.HasPrefix(got, want) {
		t.Errorf("%d octets of %d came, and then %v", len(got), len(want), err)
	}
}
