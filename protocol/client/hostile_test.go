package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// Whatever a server says after the login, the client neither panics nor hangs.
func FuzzHostileServer(f *testing.F) {
	f.Add([]byte("* PRESENCE ima=a@b state=x since=y index=-1\r\n* MOVE to=: within=99999999999999\r\n"))
	f.Add([]byte("1 MESSAGE from=a@b to=c@d id=x {2}\r\nhi1 MESSAGE {0}\r\n* MESSAGE from=a@b to=c@d id=y time=z {0}\r\n"))
	f.Add([]byte("1 200\r\n2 100\r\n3 999 :x\r\nping 500\r\n* BYE status=abc\r\n"))
	f.Add([]byte("1 MESSAGE {99999999}\r\n"))
	f.Add([]byte("a\rb\n\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		s := &site{t: t, pipe: loopback(t)}
		config := s.config()
		config.OnMessage = func(context.Context, *protocol.Message) error { return nil }
		var playing sync.WaitGroup
		defer playing.Wait()
		once := make(chan struct{}, 1)
		once <- struct{}{}
		config.Dial = func(context.Context, string, string) (net.Conn, error) {
			select {
			case <-once:
			default:
				return nil, errors.New("nobody there")
			}
			here, there := s.pipe()
			playing.Go(func() { hostile(t, there, said) })
			return here, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c, err := client.Open(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Query(ctx, false)
		_ = c.Close(ctx)
		if ctx.Err() != nil {
			t.Error("the client hangs")
		}
	})
}

// hostile lets a client log in and says whatever it likes.
func hostile(t *testing.T, conn net.Conn, said []byte) {
	defer conn.Close()
	p := outboundtest.NewPeer(t, conn)
	p.Login()
	_, _ = conn.Write(said)
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}
