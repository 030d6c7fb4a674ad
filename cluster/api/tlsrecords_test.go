package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"simpd/protocol/tlsrecord/tlsrecordtest"
)

// A caller may ask for new TLS keys only so often, whatever it says meanwhile.
func TestKeyUpdatesEndAConnection(t *testing.T) {
	s := newSecured(t)
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	config := s.tlsConfig(t, s.dir, "")
	config.NextProtos = []string{"h2"}
	w, err := tlsrecordtest.Handshake(ctx, c, config)
	if err != nil {
		t.Fatal(err)
	}
	var frames bytes.Buffer
	framer := http2.NewFramer(&frames, nil)
	_ = framer.WriteSettings()
	if _, err := c.Write(w.Data(http2.ClientPreface + frames.String())); err != nil {
		t.Fatal(err)
	}
	frames.Reset()
	_ = framer.WriteWindowUpdate(0, 1)
	go func() {
		for err == nil {
			var octets []byte
			if octets, err = w.Updates(100, frames.String()); err == nil {
				_, err = c.Write(octets)
			}
		}
	}()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("requests for new keys are answered for ever")
	}
}
