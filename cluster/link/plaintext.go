package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// plaintextHandshaker identifies nodes by their own claims, which prove
// nothing. It is for loopback only. It still detects nodes that were mistaken
// for one another, as when an address is reused.
type plaintextHandshaker struct{ site, node string }

// plaintextMark begins a plaintext connection. No TLS handshake and no gRPC
// connection begins with it.
const plaintextMark = 'S'

// dial sends one frame with a mark, a length and NUL-separated words: the
// protocol, the site, the calling node, and the called node.
func (b plaintextHandshaker) dial(ctx context.Context, c net.Conn, node, protocol string) (net.Conn, peerIdentity, error) {
	words := strings.Join([]string{protocol, b.site, b.node, node}, "\x00")
	if len(words) > 255 {
		return nil, peerIdentity{}, errors.New("names of site and nodes are too long")
	}
	defer limitToContext(ctx, c)()
	_, err := c.Write(append([]byte{plaintextMark, byte(len(words))}, words...))
	return c, peerIdentity{node: node, protocol: protocol}, err
}

func (b plaintextHandshaker) accept(ctx context.Context, c net.Conn) (net.Conn, peerIdentity, error) {
	defer limitToContext(ctx, c)()
	var frame [2 + 255]byte
	if _, err := io.ReadFull(c, frame[:2]); err != nil {
		return nil, peerIdentity{}, err
	}
	if frame[0] != plaintextMark {
		return nil, peerIdentity{}, errors.New("it speaks TLS or something else; this node runs with --insecure")
	}
	words := frame[2 : 2+int(frame[1])]
	if _, err := io.ReadFull(c, words); err != nil {
		return nil, peerIdentity{}, err
	}
	return b.checkHello(c, strings.Split(string(words), "\x00"))
}

func (b plaintextHandshaker) checkHello(c net.Conn, words []string) (net.Conn, peerIdentity, error) {
	switch {
	case len(words) != 4 || words[0] != raftProtocol && words[0] != callProtocol || words[2] == "":
		return nil, peerIdentity{}, errors.New("it names no protocol spoken here")
	case words[1] != b.site:
		return nil, peerIdentity{}, fmt.Errorf("it is of site %q, not of %q", words[1], b.site)
	case words[3] != b.node:
		return nil, peerIdentity{}, fmt.Errorf("it wanted node %q; this is %q", words[3], b.node)
	}
	return c, peerIdentity{node: words[2], protocol: words[0]}, nil
}

// limitToContext makes c's reads and writes fail when ctx ends, until release
// is called.
func limitToContext(ctx context.Context, c net.Conn) (release func()) {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if stop() {
			c.SetDeadline(time.Time{})
		}
	}
}
