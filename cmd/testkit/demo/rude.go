package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"simpd/cmd/testkit/site"
)

// rude is a client that takes messages and does not say yes: it speaks SIMP by
// hand, which also shows how little that takes.
type rude struct {
	conn   net.Conn
	in     *bufio.Reader
	answer string // what it says to a message; empty: nothing
}

// listenRudely logs a user in on a node and listens.
func listenRudely(server, ca, domain, user, password, answer string) (*rude, error) {
	trusted, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	dialer := &net.Dialer{Timeout: site.Patience}
	conn, err := tls.DialWithDialer(dialer, "tcp", server, &tls.Config{RootCAs: roots, ServerName: domain, NextProtos: []string{"simp"}})
	if err != nil {
		return nil, err
	}
	r := &rude{conn: conn, in: bufio.NewReader(conn), answer: answer}
	if err := r.greet(user, password); err != nil {
		conn.Close()
		return nil, err
	}
	go r.serve()
	return r, nil
}

func (r *rude) greet(user, password string) error {
	_ = r.conn.SetDeadline(time.Now().Add(site.Patience))
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	for _, request := range []string{`1 HELLO version=SIMP/1.0`, "2 AUTH mech=PLAIN data=" + plain, "3 LISTEN"} {
		if _, err := io.WriteString(r.conn, request+"\r\n"); err != nil {
			return err
		}
		tag := request[:2]
		for {
			line, err := r.in.ReadString('\n')
			if err != nil {
				return fmt.Errorf("%s was not answered: %w", request, err)
			}
			if strings.HasPrefix(line, tag+"200") {
				break
			}
			if strings.HasPrefix(line, tag) {
				return fmt.Errorf("%s was answered %s", request, line)
			}
		}
	}
	return r.conn.SetDeadline(time.Time{})
}

// serve reads what comes, and answers messages as it was told to.
func (r *rude) serve() {
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		if i := strings.LastIndex(line, " {"); i > 0 {
			n, _ := strconv.Atoi(strings.TrimSuffix(line[i+2:], "}"))
			_, _ = r.in.Discard(n)
		}
		tag, rest, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(rest, "MESSAGE ") && r.answer != "":
			fmt.Fprintf(r.conn, "%s %s\r\n", tag, r.answer)
		case strings.HasPrefix(rest, "PING"):
			fmt.Fprintf(r.conn, "%s 200\r\n", tag)
		}
	}
}

func (r *rude) leave() { _ = r.conn.Close() }
