package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// loginer logs one user in, again and again. It keeps what a client would keep.
type loginer struct {
	address, user string
	salted        []byte // the password as SCRAM needs it; nil: not known yet
}

// say makes a request and returns the answer to it.
func say(conn io.Writer, lines *bufio.Scanner, tag, request string) (string, error) {
	if _, err := io.WriteString(conn, tag+" "+request+"\r\n"); err != nil {
		return "", err
	}
	for lines.Scan() {
		if answer, ok := strings.CutPrefix(lines.Text(), tag+" "); ok {
			return answer, nil
		}
	}
	return "", fmt.Errorf("%s is not answered: %w", request, lines.Err())
}

// login connects, logs in and leaves.
func (l *loginer) login(auth func(io.Writer, *bufio.Scanner) (string, error)) error {
	conn, err := net.DialTimeout("tcp", l.address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewScanner(conn)
	if _, err := say(conn, lines, "h", "HELLO version=SIMP/1.1"); err != nil {
		return err
	}
	answer, err := auth(conn, lines)
	if err == nil && !strings.HasPrefix(answer, "200 ima="+l.user) {
		err = fmt.Errorf("%s is told %s", l.user, answer)
	}
	return err
}

func (l *loginer) byPLAIN(conn io.Writer, lines *bufio.Scanner) (string, error) {
	return say(conn, lines, "a", "AUTH mech=PLAIN data="+b64("\x00"+l.user+"\x00"+testPassword))
}

// byScram computes the hash of the password only once, as clients do.
func (l *loginer) byScram(conn io.Writer, lines *bufio.Scanner) (string, error) {
	bare := "n=" + l.user + ",r=fyko"
	challenge, err := say(conn, lines, "a", "AUTH mech=SCRAM-SHA-256 data="+b64("n,,"+bare))
	if err != nil {
		return "", err
	}
	first, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(challenge, "101 data="))
	if err != nil {
		return challenge, err
	}
	nonce, rest, _ := strings.Cut(string(first), ",s=")
	salt, iterations, _ := strings.Cut(rest, ",i=")
	if l.salted == nil {
		octets, _ := base64.StdEncoding.DecodeString(salt)
		count, _ := strconv.Atoi(iterations)
		if l.salted, err = pbkdf2.Key(sha256.New, testPassword, octets, count, sha256.Size); err != nil {
			return "", err
		}
	}
	final := "c=biws," + nonce
	key := sign(l.salted, "Client Key")
	stored := sha256.Sum256(key)
	for i, octet := range sign(stored[:], bare+","+string(first)+","+final) {
		key[i] ^= octet
	}
	return say(conn, lines, "a", "MORE data="+b64(final+",p="+base64.StdEncoding.EncodeToString(key)))
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// A login by SCRAM, and a repeated one by PLAIN, work with and without account
// sources. SIMPD_MEASURE measures what they cost on a whole site: SCRAM must not
// cost more where there are sources, nor a repeated PLAIN login more than 1.3
// times as much as SCRAM.
func TestLoginCost(t *testing.T) {
	rounds, logins := 1, 3
	if os.Getenv("SIMPD_MEASURE") != "" {
		rounds, logins = 10, 1000
	}
	file := writeFile(t, "accounts.yaml", "sources: {club: {type: callout, url: http://127.0.0.1:1/, insecure: true}}\ndomains: {example.com: [table, club]}\n")
	type way struct {
		name string
		pid  int
		do   func() error
		took time.Duration
	}
	var ways []*way
	for name, flags := range map[string][]string{"without sources": nil, "with sources": {"--accounts-file=" + file}} {
		n := serveInsecure(t, t.TempDir(), flags...)
		succeed(t, "alice@example.com,"+testPassword+"\n", "simpctl", "--insecure", "--addr", n.address("grpc-listen"), "account", "import", "-")
		l := &loginer{address: n.address("simp-listen"), user: "alice@example.com"}
		ways = append(ways,
			&way{name: "SCRAM " + name, pid: n.cmd.Process.Pid, do: func() error { return l.login(l.byScram) }},
			&way{name: "PLAIN " + name, pid: n.cmd.Process.Pid, do: func() error { return l.login(l.byPLAIN) }})
	}
	cost := map[string]time.Duration{}
	for range rounds {
		for _, w := range ways { // in turn, so that all meet the same machine
			if err := w.do(); err != nil { // the first one hashes
				t.Fatal(err)
			}
			before := processTime(t, w.pid)
			for range logins {
				if err := w.do(); err != nil {
					t.Fatal(err)
				}
			}
			w.took += processTime(t, w.pid) - before
			cost[w.name] = w.took / time.Duration(rounds*logins)
		}
	}
	if rounds == 1 {
		return
	}
	for _, pair := range []struct {
		name, than string
		limit      float64
	}{
		{"SCRAM with sources", "SCRAM without sources", 1.1},
		{"PLAIN without sources", "SCRAM without sources", 1.3},
		{"PLAIN with sources", "SCRAM with sources", 1.3},
	} {
		ratio := float64(cost[pair.name]) / float64(cost[pair.than])
		t.Logf("%s: %v of processor time, %.2f times %s (%v)", pair.name, cost[pair.name], ratio, pair.than, cost[pair.than])
		if ratio > pair.limit {
			t.Errorf("%s costs %.2f times as much as %s", pair.name, ratio, pair.than)
		}
	}
}
