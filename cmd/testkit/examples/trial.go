package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"simpd/cmd/testkit/site"
	"simpd/protocol"
	"simpd/protocol/client"
)

// tryWatchAndSend has an example follow bob, who comes, while another sends him a
// message whose answer is lost, and goes.
func (t *trial) tryWatchAndSend(l *language) error {
	line := t.program(l, "watch", "desk")
	watcher, err := t.Start(line[0], line[1:]...)
	if err != nil {
		return err
	}
	defer watcher.Kill()
	if _, _, err := watcher.Await(0, "all others are deaf"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), site.Patience)
	defer cancel()
	bob := &recipient{accepting: t.first.cut}
	if err := bob.connect(ctx, t.Site); err != nil {
		return err
	}
	defer func() { _ = bob.Close(ctx) }() // the trial is over
	_, next, err := watcher.Await(0, "bob@example.com available")
	if err != nil {
		return err
	}
	if err := t.trySend(l, bob); err != nil {
		return err
	}
	// Its connection was cut too.
	if _, next, err = watcher.Await(next, "going on at the next node"); err != nil {
		return err
	}
	if err := bob.Close(ctx); err != nil {
		return err
	}
	if _, _, err := watcher.Await(next, "bob@example.com deaf"); err != nil {
		return err
	}
	if n := strings.Count(watcher.Said(), "bob@example.com available"); n != 1 {
		return fmt.Errorf("bob has come once, and it was told %d times:\n%s", n, watcher.Said())
	}
	return nil
}

// trySend has an example send to bob through a node to which the connection is
// cut once he has the message, and before he has accepted it.
func (t *trial) trySend(l *language, bob *recipient) error {
	line := append(t.program(l, "send", "pager"), "--sender", "pager@example.com", "--to", "bob@example.com", "wake up")
	code, said, err := t.Run("", line[0], line[1:]...)
	switch {
	case err != nil:
		return err
	case code != 0 || !strings.Contains(said, "sending it again") || !strings.Contains(said, "bob@example.com: 200"):
		return fmt.Errorf("a message in doubt: exit code %d, and it says %q", code, said)
	case bob.shown.Load() != 1:
		return fmt.Errorf("the message was shown %d times", bob.shown.Load())
	}
	return nil
}

// recipient is bob, who listens at the third node.
type recipient struct {
	*client.Client
	accepting func()       // is called with each message, before it is accepted
	shown     atomic.Int32 // messages
}

// connect has bob listen.
func (r *recipient) connect(ctx context.Context, s *site.Site) error {
	pem, err := os.ReadFile(s.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	user, err := protocol.ParseAddress("bob@example.com")
	if err != nil {
		return err
	}
	r.Client, err = client.Open(ctx, client.Config{
		User: user, Password: s.Password, Server: s.Nodes[2].SIMP, TLS: &tls.Config{RootCAs: roots},
		OnMessage: func(context.Context, *protocol.Message) error {
			r.shown.Add(1)
			r.accepting()
			return nil
		},
	})
	if err != nil {
		return err
	}
	_, err = r.Listen(ctx, protocol.ListenRequest{})
	return err
}
