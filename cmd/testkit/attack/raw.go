package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// raw is a connection of an attacker's: it says what it likes, and reads or
// does not.
type raw struct {
	net.Conn
	in *bufio.Reader
	t  *tally
}

const (
	dialTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
	loginTimeout = 20 * time.Second
)

// dial opens a connection to the SIMP listener in clear. It ends with ctx.
func (g *ground) dial(ctx context.Context, t *tally, from net.Addr, to string) (*raw, error) {
	c, err := (&net.Dialer{Timeout: dialTimeout, LocalAddr: from, Control: freeBind}).DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	return &raw{Conn: c, in: bufio.NewReaderSize(c, 4096), t: t}, nil
}

// dialTLS opens a connection to the listener with TLS at once.
func (g *ground) dialTLS(ctx context.Context, t *tally, from net.Addr, to string, config *tls.Config) (*raw, error) {
	c, err := g.dial(ctx, t, from, to)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(c.Conn, config)
	_ = c.SetDeadline(time.Now().Add(dialTimeout))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	return &raw{Conn: secured, in: bufio.NewReaderSize(secured, 4096), t: t}, nil
}

// login opens a connection as a user of the site.
func (g *ground) login(ctx context.Context, t *tally, from net.Addr, to, user string) (*raw, error) {
	c, err := g.dialTLS(ctx, t, from, to, g.trust)
	if err != nil {
		return nil, err
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + g.address(user) + "\x00" + g.Password))
	agent := strings.Repeat("a", 256)
	err = c.open(`HELLO version=SIMP/1.0 agent=`+agent, "AUTH mech=PLAIN data="+plain)
	if err != nil {
		_ = c.Close()
	}
	return c, err
}

// open makes requests one after the other, each of which has to be answered 200.
func (c *raw) open(requests ...string) error {
	_ = c.SetDeadline(time.Now().Add(loginTimeout))
	for _, request := range requests {
		if status, err := c.ask(request); err != nil || status != "200" {
			return errors.Join(fmt.Errorf("%s: %s", strings.Fields(request)[0], status), err)
		}
	}
	return c.SetDeadline(time.Time{})
}

// ask makes one request and reads until its final response.
func (c *raw) ask(request string) (status string, err error) {
	if err := c.say("q " + request + "\r\n"); err != nil {
		return "", err
	}
	for {
		tag, word, err := c.read()
		if err != nil {
			return "", err
		}
		if tag == "q" && len(word) == 3 && word[0] != '1' {
			return word, nil
		}
	}
}

// say writes, for so long at most.
func (c *raw) say(octets string) error {
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := io.WriteString(c.Conn, octets)
	return err
}

// read reads a line, with its literal, and returns its first two words.
func (c *raw) read() (tag, word string, err error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if i := strings.LastIndex(line, " {"); i > 0 && strings.HasSuffix(line, "}") {
		if n, err := strconv.Atoi(line[i+2 : len(line)-1]); err == nil {
			if _, err := c.in.Discard(n); err != nil {
				return "", "", err
			}
		}
	}
	tag, rest, _ := strings.Cut(line, " ")
	word, rest, _ = strings.Cut(rest, " ")
	if word == "BYE" {
		word += " " + strings.TrimPrefix(strings.Fields(rest + " ?")[0], "status=")
	}
	return tag, word, nil
}

// listen counts what comes, until the connection ends. What it is asked, as
// MESSAGE, it answers if answer is not "".
func (c *raw) listen(answer string) {
	for {
		tag, word, err := c.read()
		if err != nil {
			return
		}
		c.t.tell(word)
		if answer != "" && tag != "*" && (word == "MESSAGE" || word == "PING") && c.say(tag+" "+answer+"\r\n") != nil {
			return
		}
	}
}
