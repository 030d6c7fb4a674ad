package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"simpd/protocol"
)

var errGone = errors.New("the connection has ended")

// talk is a client that speaks SIMP by hand, so that nothing stands between a
// test and the wire. Its methods may be called from any goroutine.
type talk struct {
	conn    net.Conn
	message func(m protocol.Line, entity []byte) (answer string) // empty: none
	notice  func(l protocol.Line)
	gone    chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	next    int
	waiting map[string]chan protocol.Line
}

// dialTalk logs a user in.
func dialTalk(address, user, password string, message func(protocol.Line, []byte) string, notice func(protocol.Line)) (*talk, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return startTalk(conn, user, password, message, notice)
}

// startTalk logs a user in on a connection, which it closes if that fails.
func startTalk(conn net.Conn, user, password string, message func(protocol.Line, []byte) string, notice func(protocol.Line)) (*talk, error) {
	t := &talk{conn: conn, message: message, notice: notice, gone: make(chan struct{}), waiting: map[string]chan protocol.Line{}}
	go t.read()
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	for _, request := range []string{"HELLO version=SIMP/1.0", "AUTH mech=PLAIN data=" + plain} {
		if _, err := t.ask(request, nil); err != nil {
			t.close()
			return nil, fmt.Errorf("%s: %w", request, err)
		}
	}
	return t, nil
}

// close ends the connection and waits for its reader.
func (t *talk) close() {
	_ = t.conn.Close()
	<-t.gone
}

// ask makes a request and returns its 100 lines and its final response, which
// is an error if it is not 2xx.
func (t *talk) ask(request string, entity []byte) ([]protocol.Line, error) {
	lines, err := t.request(request, entity)
	if err != nil {
		return nil, err
	}
	if last := lines[len(lines)-1]; !last.Status.OK() {
		return lines, protocol.Errorf(last.Status, "%s", last.Text)
	}
	return lines, nil
}

func (t *talk) request(request string, entity []byte) (lines []protocol.Line, err error) {
	answers := make(chan protocol.Line, 64)
	t.mu.Lock()
	t.next++
	tag := fmt.Sprintf("t%d", t.next)
	t.waiting[tag] = answers
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.waiting, tag)
		t.mu.Unlock()
	}()
	if entity != nil {
		request = fmt.Sprintf("%s {%d}\r\n%s", request, len(entity), entity)
	} else {
		request += "\r\n"
	}
	_ = t.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(t.conn, tag+" "+request); err != nil {
		return nil, errGone
	}
	return t.collect(answers)
}

func (t *talk) collect(answers <-chan protocol.Line) (lines []protocol.Line, err error) {
	limit := time.After(patience)
	for {
		select {
		case l := <-answers:
			if lines = append(lines, l); !l.Status.Interim() {
				return lines, nil
			}
		case <-t.gone:
			return nil, errGone
		case <-limit:
			return nil, errors.New("no answer")
		}
	}
}

func (t *talk) read() {
	defer close(t.gone)
	defer t.conn.Close()
	in := bufio.NewReader(t.conn)
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			return
		}
		var l protocol.Line
		if protocol.ParseLine(strings.TrimSuffix(text, "\r\n"), &l) != nil {
			return
		}
		entity := make([]byte, max(0, l.Literal))
		if _, err := io.ReadFull(in, entity); err != nil {
			return
		}
		t.take(l, entity)
	}
}

func (t *talk) take(l protocol.Line, entity []byte) {
	switch {
	case l.Status != 0:
		t.mu.Lock()
		answers := t.waiting[l.Tag]
		t.mu.Unlock()
		if answers != nil {
			select {
			case answers <- l:
			case <-time.After(patience): // nobody reads any more
			}
		}
	case l.Verb == "MESSAGE" && t.message != nil:
		if answer := t.message(l, entity); answer != "" {
			fmt.Fprintf(t.conn, "%s %s\r\n", l.Tag, answer)
		}
	case l.Verb == "PING":
		fmt.Fprintf(t.conn, "%s 200\r\n", l.Tag)
	case t.notice != nil:
		t.notice(l)
	}
}

func param(l protocol.Line, key string) string {
	v, _ := l.Get(key)
	return v
}
