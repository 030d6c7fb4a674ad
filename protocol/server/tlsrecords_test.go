package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"simpd/protocol/tlsrecord/tlsrecordtest"
)

// askForKeys holds a TLS handshake on c, says begin, and asks for new keys far
// more often than is allowed, each time with data after it, until the server
// ends the connection.
func (h *harbour) askForKeys(c net.Conn, begin, data string, nextProtos ...string) {
	h.Helper()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	ctx, stop := context.WithTimeout(h.Context(), 30*time.Second)
	defer stop()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: nextProtos}
	w, err := tlsrecordtest.Handshake(ctx, c, config)
	if err != nil {
		h.Fatal(err)
	}
	if _, err := c.Write(w.Data(begin)); err != nil {
		h.Fatal(err)
	}
	go func() {
		for err == nil {
			var octets []byte
			if octets, err = w.Updates(100, data); err == nil {
				_, err = c.Write(octets)
			}
		}
	}()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		h.Error("requests for new keys are answered for ever")
	}
}

// Whatever a connection came by, it may ask for new keys only so often.
func TestKeyUpdatesEndASession(t *testing.T) {
	const get = "GET /simp HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: simp\r\n\r\n"
	ping := "\x89\x80\x00\x00\x00\x00" // of WebSocket, from a client
	for name, ask := range map[string]func(h *harbour){
		"TLS": func(h *harbour) { h.askForKeys(dialNet(h, h.tls), "", "\r\n") },
		"STARTTLS": func(h *harbour) {
			c := h.dial()
			c.send("1 STARTTLS")
			c.expect("1 200")
			h.askForKeys(c.Conn, "", "\r\n")
		},
		"no loop": func(h *harbour) {
			l := newMemListener()
			h.serveOn(l, h.server.ServeTLS)
			h.askForKeys(l.dial(roomy, netip.MustParseAddrPort("192.0.2.1:4711")), "", "\r\n")
		},
		"WebSocket": func(h *harbour) {
			h.askForKeys(dialNet(h, h.serve(h.server.ServeWebSocket)), get, ping, "http/1.1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarbour(t, nil)
			ask(h)
			if n := h.server.metrics.EmptyRecords.Load(); n != 1 {
				t.Errorf("%d connections are counted as ended for that", n)
			}
		})
	}
}

func dialNet(h *harbour, address string) net.Conn {
	c, err := net.Dial("tcp", address)
	if err != nil {
		h.Fatal(err)
	}
	return c
}
