package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"simpd/cmd/testkit/site"
)

// answerTo logs in at a node with data for a mechanism, and returns what the node
// answers, and after how long.
func (t *trial) answerTo(n *site.Node, mechanism, data string) (answer string, took time.Duration, err error) {
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return "", 0, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conn, err := tls.Dial("tcp", n.SIMPS, &tls.Config{RootCAs: roots, ServerName: t.Domain, NextProtos: []string{"simp"}})
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(site.Patience))
	lines := bufio.NewScanner(conn)
	began := time.Now()
	for i, request := range []string{"HELLO version=SIMP/1.1", "AUTH mech=" + mechanism + " data=" + base64.StdEncoding.EncodeToString([]byte(data))} {
		began = time.Now()
		tag := fmt.Sprint(i, " ")
		if _, err := io.WriteString(conn, tag+request+"\r\n"); err != nil {
			return "", 0, err
		}
		for answer = ""; answer == "" && lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), tag); ok {
				answer = text
			}
		}
	}
	if answer == "" {
		err = fmt.Errorf("no answer: %w", lines.Err())
	}
	return answer, time.Since(began), err
}

// byPassword logs a user in by PLAIN.
func (t *trial) byPassword(n *site.Node, user, password string) (answer string, took time.Duration, err error) {
	return t.answerTo(n, "PLAIN", "\x00"+user+"@"+t.Domain+"\x00"+password)
}

// byToken logs a user in by OAUTHBEARER.
func (t *trial) byToken(n *site.Node, user, token string) (answer string, took time.Duration, err error) {
	return t.answerTo(n, "OAUTHBEARER", "n,a="+user+"@"+t.Domain+",\x01auth=Bearer "+token+"\x01\x01")
}
