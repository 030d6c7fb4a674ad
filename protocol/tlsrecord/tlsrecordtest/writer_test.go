package tlsrecordtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// What is written by hand is what Go's own server takes for TLS: it reads the
// words that stand between updates, and answers each update by one.
func TestKeyUpdatesAreTaken(t *testing.T) {
	https := httptest.NewTLSServer(nil) // it has a certificate
	defer https.Close()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	server := tls.Server(there, &tls.Config{Certificates: https.TLS.Certificates})
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	shaken := make(chan error, 1)
	go func() { shaken <- server.HandshakeContext(ctx) }()
	w, err := Handshake(ctx, here, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan int64, 1)
	go func() { // the server's tickets, and its answers
		n, _ := io.Copy(io.Discard, here)
		answered <- n
	}()
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	_ = there.SetDeadline(time.Now().Add(10 * time.Second))
	octets, err := w.Updates(50, "\r\n")
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := here.Write(octets)
		wrote <- err
	}()
	got := make([]byte, 100)
	if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("\r\n"), 50)) {
		t.Fatalf("%q, %v", got, err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	_ = there.Close()
	_ = here.Close()
	const answer = 5 + 5 + 16 // a record with an update in it
	if n := <-answered; n < 50*answer {
		t.Errorf("%d octets came back: fewer than 50 answers", n)
	}
}
