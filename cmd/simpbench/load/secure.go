//go:build linux

package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Secure is a client on TLS, outside of any Loop: it is brought in and then
// left alone, for the memory that it takes in the server.
type Secure struct{ conn *tls.Conn }

// LoginSecure brings user number n in over TLS, and returns once it listens.
func LoginSecure(ctx context.Context, d Dialect, n int, at netip.AddrPort, from netip.Addr, c *tls.Config) (*Secure, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{}, Config: c}
	if from.IsValid() {
		dialer.NetDialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := dialer.DialContext(ctx, "tcp4", at.String())
	if err != nil {
		return nil, fmt.Errorf("user %d: %w", n, err)
	}
	s := &Secure{conn: conn.(*tls.Conn)}
	stop := context.AfterFunc(ctx, s.Close)
	defer stop()
	if err := s.login(d, n); err != nil {
		s.Close()
		return nil, fmt.Errorf("user %d: %w", n, err)
	}
	return s, nil
}

// Close ends the connection, with TLS's own farewell.
func (s *Secure) Close() { _ = s.conn.Close() } // it may be broken already

// secureLogin is a login under way: the Events of its client, and its outbox.
type secureLogin struct {
	Ignore
	ready bool
	out   []byte
}

func (l *secureLogin) Ready(*Client)      { l.ready = true }
func (l *secureLogin) Outbox() []byte     { return l.out }
func (l *secureLogin) SetOutbox(b []byte) { l.out = b }
func (l *secureLogin) Close()             {}

// errNotUsed is a login that answers with more than a line can hold.
var errNotUsed = errors.New("a line that does not end")

func (s *Secure) login(d Dialect, n int) error {
	var l secureLogin
	c := &Client{Name: d.User(n), Number: n, Events: &l, conn: &l, speaker: d.speaker()}
	l.out = c.speaker.hello(c, nil)
	var in []byte
	for buf := make([]byte, 4096); !l.ready; {
		if _, err := s.conn.Write(l.out); err != nil {
			return err
		}
		l.out = l.out[:0]
		got, err := s.conn.Read(buf)
		if err != nil {
			return c.speaker.ended(err)
		}
		in = append(in, buf[:got]...)
		used, err := c.Octets(in)
		if err != nil {
			return err
		}
		if in = in[used:]; len(in) > readSize {
			return errNotUsed
		}
	}
	return nil
}
