package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"simpd/protocol"
)

// site is a server on loopback that answers by the names of the addresses.
type site struct {
	t    *testing.T
	addr string

	data string // where the user's programs keep keys
	wg   sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond
	conn     net.Conn // the newest
	requests []string
	entity   string
	answers  map[string]string // by tag
	provider string            // the URL of an OpenID provider; "": users have passwords
	keys     map[string]*keys  // lists of keys, by user
}

func newSite(t *testing.T) *site {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, addr: l.Addr().String(), data: t.TempDir(), answers: map[string]string{}, keys: map[string]*keys{}}
	s.changed = sync.NewCond(&s.mu)
	s.wg.Go(func() { s.accept(l) })
	t.Cleanup(func() {
		_ = l.Close()
		s.wg.Wait()
	})
	return s
}

func (s *site) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conn = conn
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(conn) })
	}
}

func (s *site) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	s.say("* HELLO version=SIMP/1.0 domain=example.com")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		var l protocol.Line
		if err := protocol.ParseLine(strings.TrimSuffix(line, "\r\n"), &l); err != nil {
			s.t.Errorf("%q: %v", line, err)
			return
		}
		body := make([]byte, max(0, l.Literal))
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		s.note(&l, strings.TrimSpace(line), body)
		for answer := range strings.SplitSeq(s.answer(&l), "\n") {
			if answer != "" {
				s.say("%s %s", l.Tag, answer)
			}
		}
		if l.Verb == "QUIT" {
			return
		}
	}
}

// note keeps what was said, for the test to look at.
func (s *site) note(l *protocol.Line, line string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, said, _ := strings.Cut(line, " ")
	if l.IsRequest() {
		s.requests = append(s.requests, said)
	} else {
		s.answers[l.Tag] = said
	}
	if l.Verb == "SEND" {
		s.entity = string(body)
	}
	s.changed.Broadcast()
}

func (s *site) answer(l *protocol.Line) string {
	if !l.IsRequest() {
		return ""
	}
	_, who := l.Get("who")
	_, ima := l.Get("ima")
	switch l.Verb {
	case "HELLO":
		if s.tokenProvider() != "" {
			return "200 version=SIMP/1.1 domain=example.com size=65536 idle=300 auth=OAUTHBEARER history=h"
		}
		return "200 version=SIMP/1.0 domain=example.com size=65536 idle=300 auth=PLAIN history=h"
	case "MORE":
		return "401 :the token is not valid"
	case "AUTH":
		if mech, _ := l.Get("mech"); mech == "OAUTHBEARER" {
			return s.answerToken(l)
		}
		// alice's password, and her app password
		if data, _ := l.Get("data"); data != "AGFsaWNlQGV4YW1wbGUuY29tAHNlY3JldA==" && data != "AGFsaWNlQGV4YW1wbGUuY29tAGFwcC1zZWNyZXQ=" {
			return "401 :wrong address or password"
		}
		return "200 ima=alice@example.com"
	case "JOIN":
		if code, _ := l.Get("code"); code != "k3fm-7qpd" {
			return "401 :the code is wrong"
		}
	case "STARTTLS":
		return "403 :no certificate here"
	case "APP":
		if _, adds := l.Get("add"); adds {
			return "200 id=7 data=\"app-secret\""
		}
	case "SEND":
		return send(l)
	case "LISTEN":
		return "200 session=s index=1"
	case "WATCH", "QUERY":
		return presence(l)
	case "KEY", "KEYS":
		return s.answerKeys(l)
	case "WATCHERS":
		return "100 ima=carol@example.com\n200"
	case "CONTACT":
		if !ima {
			return "100 ima=bob@example.com name=\"Bob B.\"\n100 ima=carol@example.com\n100 ima=dave@example.com name=Dave group=Sales\n200"
		}
	case "ACL":
		if !who {
			return "100 who=@example.net message=deny\n200"
		}
	}
	return "200"
}

func (s *site) tokenProvider() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.provider
}

func (s *site) setTokenProvider(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.provider = address
}

// answerToken takes the token t1, and says where to get it.
func (s *site) answerToken(l *protocol.Line) string {
	data, _ := l.Get("data")
	if said, _ := base64.StdEncoding.DecodeString(data); strings.HasSuffix(string(said), "auth=Bearer t1\x01\x01") {
		return "200 ima=alice@example.com"
	}
	return "101 data=" + base64.StdEncoding.EncodeToString([]byte(`{"status":"invalid_token","openid-configuration":"`+s.tokenProvider()+`/configuration","client_id":"simp"}`))
}

// send answers a SEND by the recipients' names.
func send(l *protocol.Line) string {
	outcomes := map[string]string{
		"deaf": "480 :not listening", "silent": "201", "nobody": "404 :unknown", "rude": "486 :\u009b31mno", "full": "481", "far": "502 :unreachable",
	}
	id, _ := l.Get("id")
	var answers []string
	for _, p := range l.Params {
		if p.Key != "to" {
			continue
		}
		name, _, _ := strings.Cut(p.Value, "@")
		outcome := outcomes[name]
		if outcome == "" {
			outcome = "200 :delivered"
		}
		status, text, _ := strings.Cut(outcome, " ")
		answers = append(answers, strings.TrimSpace(fmt.Sprintf("100 to=%s status=%s %s", protocol.Quote(p.Value), status, text)))
		if len(answers) == 1 {
			answers[0] = strings.TrimSpace(fmt.Sprintf("%s id=%s %s", status, id, text)) + "\x00" + answers[0]
		}
	}
	single, partial, _ := strings.Cut(answers[0], "\x00")
	if len(answers) == 1 {
		return single
	}
	answers[0] = partial
	return strings.Join(append(answers, "207 id="+id), "\n")
}

func presence(l *protocol.Line) string {
	var answers []string
	for _, p := range l.Params {
		switch {
		case p.Key != "ima":
		case strings.HasPrefix(p.Value, "deaf"):
			answers = append(answers, "100 ima="+p.Value+" state=deaf")
		default:
			answers = append(answers, "100 ima="+p.Value+" state=available since=2026-11-22T10:00:00.000Z index=7")
		}
	}
	return strings.Join(append(answers, "200 index=7"), "\n")
}

// say says a line on the newest connection.
func (s *site) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.conn, format+"\r\n", args...)
}

// heard reports whether a request was made.
func (s *site) heard(request string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.requests, request)
}

// await waits for a request that begins so.
func (s *site) await(request string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !slices.ContainsFunc(s.requests, func(r string) bool { return strings.HasPrefix(r, request) }) {
		s.changed.Wait()
	}
}

// last returns the entity that was sent last.
func (s *site) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entity
}

// lastID returns the id of the message that was sent last.
func (s *site) lastID() (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if rest, sent := strings.CutPrefix(r, "SEND "); sent {
			_, id, _ = strings.Cut(rest, "id=")
			id, _, _ = strings.Cut(id, " ")
		}
	}
	return id
}

// deliver sends a message to the client and returns its answer.
func (s *site) deliver(id, entity string) string {
	s.say("%s MESSAGE from=bob@example.com to=alice@example.com id=%s time=2026-11-22T10:00:00.000Z {%d}\r\n%s", id, id, len(entity), entity)
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.answers[id] == "" {
		s.changed.Wait()
	}
	return s.answers[id]
}
