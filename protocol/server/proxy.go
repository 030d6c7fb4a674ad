package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"

	"simpd/protocol"
)

// The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a
// balancer says in front of everything else who its client is.
const (
	proxyV1      = "PROXY "
	proxyV2      = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxyV1   = 107
	maxProxyV2   = 4096 // of what follows the fixed part; TLVs are not used
	proxyV2Fixed = 16
)

// isBalancer tells whether the PROXY protocol is spoken from there.
func (s *Server) isBalancer(a netip.Addr) bool {
	for _, p := range s.config.Balancers {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// takeProxied finds out who c's client is, and takes it then. Until then it
// counts as the balancer's, for which limits by source do not hold.
func (s *Server) takeProxied(c net.Conn, t protocol.Transport) {
	a, refusal := s.admission.admit(netip.AddrPort{})
	if refusal != "" {
		s.metrics.Turned.Add(1)
		_ = c.Close() // whose client it is is not known
		return
	}
	if !s.aside(func() { s.identify(c, t, a) }) {
		a.leave()
		_ = c.Close() // nothing was said yet
	}
}

func (s *Server) identify(c net.Conn, t protocol.Transport, a *admitted) {
	remote, err := readProxy(c)
	a.leave()
	if err != nil {
		s.config.Logger.Warn("a balancer's connection is refused", "balancer", c.RemoteAddr(), "error", err)
		_ = c.Close()
		return
	}
	s.takeFrom(c, t, remote)
}

// readProxy reads the header of the PROXY protocol and not an octet more.
func readProxy(c net.Conn) (netip.AddrPort, error) {
	if err := c.SetReadDeadline(time.Now().Add(handshakeTime)); err != nil {
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
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, fmt.Errorf("no PROXY header came: %w", err)
	}
	if string(head) == proxyV1 {
		return readProxyV1(c, head)
	}
	if string(head) == proxyV2[:len(head)] {
		return readProxyV2(c, head)
	}
	return nil, errors.New("it does not begin with a PROXY header")
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
