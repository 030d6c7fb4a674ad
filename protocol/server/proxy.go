package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pires/go-proxyproto"
)

// The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a
// balancer says in front of everything else who its client is.
const (
	proxyV1      = "PROXY "
	proxyV2      = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxyV1   = 107
	maxProxyV2   = 4096 // after the fixed part; TLVs are not used
	proxyV2Fixed = 16
)

// proxyTime is how long a balancer may take for the header.
const proxyTime = 5 * time.Second

// isBalancer reports whether connections from that address must begin with a
// PROXY header.
func (s *Server) isBalancer(a netip.Addr) bool { return containsAddr(s.config.Balancers, a) }

// acceptProxied reads the client's address in a goroutine, and then calls
// take. Until then the connection counts for the balancer, which is exempt
// from limits by source. If the header is optional, a connection without one
// is the balancer's own.
func (s *Server) acceptProxied(c net.Conn, optional bool, take func(net.Conn, netip.AddrPort)) {
	a, refusal := s.connLimiter.acquire(netip.AddrPort{})
	if refusal != "" {
		s.metrics.Rejected.Add(1)
		_ = c.Close() // the client is not known
		return
	}
	if !s.goTracked(func() { s.identifyProxied(c, optional, take, a) }) {
		a.release()
		_ = c.Close() // nothing was said yet
	}
}

func (s *Server) identifyProxied(c net.Conn, optional bool, take func(net.Conn, netip.AddrPort), a *connSlot) {
	remote, err := readProxy(c)
	a.release()
	var other *noProxyError
	if optional && errors.As(err, &other) {
		c, remote, err = &prefixedConn{c, other.head}, addrPort(c.RemoteAddr()), c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		level := slog.LevelWarn
		if errors.Is(err, errNothingCame) {
			level = slog.LevelDebug // it looked whether anybody listens
		}
		s.config.Logger.Log(context.Background(), level, "a balancer's connection is refused", "balancer", c.RemoteAddr(), "error", err)
		_ = c.Close()
		return
	}
	take(c, remote)
}

// readProxy reads the header of the PROXY protocol and not one octet more.
func readProxy(c net.Conn) (netip.AddrPort, error) {
	if err := c.SetReadDeadline(time.Now().Add(proxyTime)); err != nil {
		return netip.AddrPort{}, err
	}
	head, err := readProxyHead(c)
	if err != nil {
		return netip.AddrPort{}, err
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("the PROXY header is wrong: %w", err)
	}
	remote := addrPort(c.RemoteAddr())
	if source, _, ok := h.TCPAddrs(); ok && !h.Command.IsLocal() {
		remote = source.AddrPort()
	}
	return remote, c.SetReadDeadline(time.Time{})
}

func readProxyHead(c net.Conn) ([]byte, error) {
	head := make([]byte, len(proxyV1), maxProxyV1)
	n, err := io.ReadFull(c, head)
	switch {
	case err != nil && n == 0 && !errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%w: %w", errNothingCame, err)
	case err != nil:
		return nil, fmt.Errorf("no PROXY header came: %w", err)
	}
	if string(head) == proxyV1 {
		return readProxyV1(c, head)
	}
	if string(head) == proxyV2[:len(head)] {
		return readProxyV2(c, head)
	}
	return nil, &noProxyError{head}
}

var errNothingCame = errors.New("it was closed before anything came")

// noProxyError reports that a connection begins with something else.
type noProxyError struct{ head []byte }

func (*noProxyError) Error() string { return "it does not begin with a PROXY header" }

// prefixedConn is a connection of which some octets were already read.
type prefixedConn struct {
	net.Conn
	head []byte
}

func (c *prefixedConn) Read(b []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.head)
	c.head = c.head[n:]
	return n, nil
}

func readProxyV1(c net.Conn, head []byte) ([]byte, error) {
	for len(head) < maxProxyV1 && head[len(head)-1] != '\n' {
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil {
			return nil, fmt.Errorf("the PROXY header does not end: %w", err)
		}
		head = append(head, b[0])
	}
	return head, nil
}

func readProxyV2(c net.Conn, head []byte) ([]byte, error) {
	fixed := append(head, make([]byte, proxyV2Fixed-len(head))...)
	if _, err := io.ReadFull(c, fixed[len(head):]); err != nil {
		return nil, fmt.Errorf("the PROXY header does not end: %w", err)
	}
	n := int(binary.BigEndian.Uint16(fixed[proxyV2Fixed-2:]))
	if n > maxProxyV2 {
		return nil, fmt.Errorf("the PROXY header has %d octets", n)
	}
	all := append(fixed, make([]byte, n)...)
	_, err := io.ReadFull(c, all[proxyV2Fixed:])
	return all, err
}
