package client_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
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
		config.Dial = func(context.Context, string, string) (net.Conn, error) {
			here, there := s.pipe()
			go func() {
				defer there.Close()
				p := &peer{t: t, conn: there, r: bufio.NewReader(there)}
				p.login()
				_, _ = there.Write(said)
				_ = there.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, there)
			}()
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
