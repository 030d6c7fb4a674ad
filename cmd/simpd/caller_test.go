package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"simpd/cmd/testkit/world"
)

// caller is a connection that a test makes by hand, as another site's server
// or whoever says to be one.
type caller struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

// call connects to a site, showing a certificate if it is not nil.
func (s *homeSite) call(show *tls.Certificate) *caller {
	t := s.globe.T
	t.Helper()
	c := &tls.Config{RootCAs: s.globe.authority.Roots(), ServerName: s.domain, NextProtos: []string{"simp"}}
	if show != nil {
		c.Certificates = []tls.Certificate{*show}
	}
	conn := tls.Client(dial(t, s.sockets["simps-listen"].Addr().String()), c)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	k := &caller{t, conn, bufio.NewReader(conn)}
	k.line()
	return k
}

func (c *caller) line() string {
	c.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	line, err := c.in.ReadString('\n')
	if err != nil {
		c.Fatalf("%q, %v", line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// ask makes a request and returns the lines of its answer.
func (c *caller) ask(request string) []string {
	c.Helper()
	if _, err := io.WriteString(c.Conn, "t "+request); err != nil {
		c.Fatal(err)
	}
	if !strings.HasSuffix(request, "\n") && !strings.Contains(request, "}\r\n") {
		_, _ = io.WriteString(c.Conn, "\r\n")
	}
	var lines []string
	for {
		line := c.line()
		if strings.HasPrefix(line, "t ") {
			lines = append(lines, line[2:])
		}
		if strings.HasPrefix(line, "t ") && !strings.HasPrefix(line, "t 1") {
			return lines
		}
	}
}

// answers makes a request and checks the status of its final answer.
func (c *caller) answers(request, status string) string {
	c.Helper()
	lines := c.ask(request)
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, status) {
		c.Errorf("%.120s: %s, want %s", request, last, status)
	}
	return last
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// enters proves a domain by certificate.
func (s *homeSite) enters(cert *tls.Certificate, domain string) *caller {
	s.globe.Helper()
	c := s.call(cert)
	if hello := c.answers("HELLO version=SIMP/1.0", "200"); !strings.Contains(hello, "EXTERNAL,DIALBACK") {
		c.Errorf("it offers %s", hello)
	}
	if said := c.answers("AUTH mech=EXTERNAL data="+b64(domain), "200"); !strings.Contains(said, "domain="+domain) {
		c.Errorf("AUTH answers %s", said)
	}
	return c
}

func (g *globe) issue(o world.Order) *tls.Certificate {
	g.Helper()
	c, err := g.authority.Issue(o)
	if err != nil {
		g.Fatal(err)
	}
	return &c
}
