package outboundtest

import (
	"errors"
	"io"
)

// NotPublic are addresses that nobody's DNS may lead to, one of each kind.
var NotPublic = []string{
	"0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
	"198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "64:ff9b:1::1",
	"100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:a01:203::1", "3fff::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1",
}

// ErrRefused is what dialing fails with where nobody listens.
var ErrRefused = errors.New("connection refused")

// Greets plays a server that says something as soon as it is reached, or, with
// waits, as soon as the client has said something.
func Greets(said string, waits bool) func(p *Peer) {
	return func(p *Peer) {
		if waits {
			_, _ = p.Reader.ReadByte()
		}
		_, _ = io.WriteString(p.Conn, said)
		_, _ = io.Copy(io.Discard, p.Reader)
	}
}

// OtherServers are servers that do not speak SIMP, and how each is called.
var OtherServers = []struct {
	Said  string
	Waits bool
	Name  string
}{
	{"SSH-2.0-OpenSSH_9.6\r\n", false, "SSH"},
	{"220 mail.example.net ESMTP Postfix\r\n", false, "SMTP"},
	{"* OK IMAP4rev1 ready\r\n", false, "IMAP"},
	{"+OK POP3\r\n", false, "POP3"},
	{"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", true, "HTTP"},
	{"<?xml version='1.0'?><stream:error/>", true, "XMPP"},
	{"\x15\x03\x01\x00\x02\x02\x16", true, "TLS"}, // the alert of a server that expected a ClientHello
	{"\x15\x03\x03\x00\x02\x02\x0a", true, "TLS"},
	{"\x00\x00\x01garbage", false, "something else"},
	{"500 what?\r\n", true, "something else"},
}
