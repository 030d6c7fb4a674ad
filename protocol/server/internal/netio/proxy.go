package netio

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// ReadProxy reads the header of the PROXY protocol and not one octet more.
func ReadProxy(c net.Conn) (netip.AddrPort, error) {
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
	remote := AddrPort(c.RemoteAddr())
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
		return nil, fmt.Errorf("%w: %w", ErrNothingCame, err)
	case err != nil:
		return nil, fmt.Errorf("no PROXY header came: %w", err)
	}
	if string(head) == proxyV1 {
		return readProxyV1(c, head)
	}
	if string(head) == proxyV2[:len(head)] {
		return readProxyV2(c, head)
	}
	return nil, &NoProxyError{head}
}

// ErrNothingCame reports that the balancer only looked whether anybody listens.
var ErrNothingCame = errors.New("it was closed before anything came")

// NoProxyError reports that a connection begins with something else.
type NoProxyError struct{ Head []byte }

func (*NoProxyError) Error() string { return "it does not begin with a PROXY header" }

// PrefixedConn is a connection of which some octets were already read.
type PrefixedConn struct {
	net.Conn
	Head []byte
}

// Read returns Head first.
func (c *PrefixedConn) Read(b []byte) (int, error) {
	if len(c.Head) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.Head)
	c.Head = c.Head[n:]
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
