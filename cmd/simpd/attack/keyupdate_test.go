package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"simpd/cmd/simpd/world"
)

// What is written by hand is what Go's own server takes for TLS: it reads the
// words that stand between updates, and answers each update by one.
func TestKeyUpdatesAreTaken(t *testing.T) {
	authority, err := world.NewAuthority("an authority for tests")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Issue(world.Order{Names: []string{siteDomain}})
	if err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{certificate}})
	keys := &keyLog{}
	client := tls.Client(here, &tls.Config{RootCAs: authority.Roots(), ServerName: siteDomain, KeyLogWriter: keys, MinVersion: tls.VersionTLS13})
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	shaken := make(chan error, 1)
	go func() { shaken <- server.HandshakeContext(ctx) }()
	if err := client.HandshakeContext(ctx); err != nil {
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
	w, err := newTLSWriter(keys.clientSecret())
	if err != nil {
		t.Fatal(err)
	}
	tl := &tally{}
	wrote := make(chan error, 1)
	go func() { wrote <- w.burst(here, tl) }()
	got := make([]byte, 100)
	if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("\r\n"), 50)) {
		t.Fatalf("%q, %v", got, err)
	}
	if err := <-wrote; err != nil || tl.counts().Tries != 50 {
		t.Fatalf("%v, %d tries", err, tl.counts().Tries)
	}
	_ = there.Close()
	_ = here.Close()
	const answer = 5 + 5 + 16 // a record with an update in it
	if n := <-answered; n < 50*answer {
		t.Errorf("%d octets came back: fewer than 50 answers", n)
	}
}
