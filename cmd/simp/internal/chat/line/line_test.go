package line

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cmd/simp/internal/chat"
	"simpd/protocol"
)

// network is a Session that is played by the test.
type network struct {
	events    chan chat.Event
	incoming  chan chat.Incoming
	started   chan chat.Effect
	abandoned chan struct{}
	done      chan struct{}
}

func newNetwork() *network {
	return &network{make(chan chat.Event), make(chan chat.Incoming), make(chan chat.Effect, 1000), make(chan struct{}), make(chan struct{})}
}

func (n *network) Events() <-chan chat.Event      { return n.events }
func (n *network) Incoming() <-chan chat.Incoming { return n.incoming }
func (n *network) Start(e chat.Effect)            { n.started <- e }
func (n *network) Abandon()                       { close(n.abandoned) }
func (n *network) Done() <-chan struct{}          { return n.done }
func (n *network) Err() error                     { return errors.New("wrong password") }

// deliver hands a message over and returns the answer.
func (n *network) deliver(text string) error {
	answer := make(chan error, 1)
	n.incoming <- chat.Incoming{Arrived: chat.Arrived{From: protocol.CanonicalAddress("bob@example.com"), Text: text}, Answer: answer}
	return <-answer
}

// play runs the front end against a network, in fake time. What the test writes
// to typed is the input.
func play(t *testing.T, test func(n *network, typed *io.PipeWriter, interrupt func())) (out string, code int, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		model := chat.New(chat.Config{Me: protocol.CanonicalAddress("alice@example.com")})
		model.Open(&chat.Conversation{To: []protocol.Address{protocol.CanonicalAddress("bob@example.com")}})
		model.Update(chat.Answered{Request: chat.Request{Kind: chat.Watch}})
		var written, notes bytes.Buffer
		in, typed := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- Run(ctx, Config{In: in, Out: &written, Notes: &notes, Model: model, Session: n, NewID: newIDs()})
		}()
		test(n, typed, interrupt)
		err = <-ended
		out, code = written.String(), model.ExitCode()
		_ = typed.Close() // ends the goroutine that reads
	})
	return out, code, err
}

func say(typed io.Writer, text string) { _, _ = io.WriteString(typed, text) }

// newIDs returns a function that returns x1, x2, and so on.
func newIDs() func() string {
	n := 0
	return func() string { n++; return fmt.Sprint("x", n) }
}

func outcome(id string, status protocol.Status) chat.Event {
	return chat.Outcome{ID: id, Results: []chat.Result{{To: protocol.CanonicalAddress("bob@example.com"), Status: status}}}
}

// What arrives after the end of the input is refused.
func TestMessagesAreRefusedAtTheEnd(t *testing.T) {
	out, code, err := play(t, func(n *network, typed *io.PipeWriter, _ func()) {
		say(typed, "hi")
		_ = typed.Close()
		<-n.started
		synctest.Wait() // the end of the input was read
		if err := n.deliver("hello"); !errors.Is(err, errQuitting) {
			t.Errorf("answered %v", err)
		}
		n.events <- outcome("x1", 200)
	})
	if err != nil || out != "-- delivered to bob@example.com: hi\n" || code != 0 {
		t.Errorf("%v, %q, exit code %d", err, out, code)
	}
}

// An interrupt leaves outcomes three seconds.
func TestInterrupt(t *testing.T) {
	out, code, err := play(t, func(n *network, typed *io.PipeWriter, interrupt func()) {
		say(typed, "hi\n")
		<-n.started
		if err := n.deliver("hello"); err != nil {
			t.Errorf("answered %v", err)
		}
		began := time.Now()
		interrupt()
		<-n.abandoned
		if took := time.Since(began); took != quitWait {
			t.Errorf("waited %v", took)
		}
		n.events <- outcome("x1", 201)
	})
	if want := "00:00 <bob@example.com> hello\n-- in doubt, bob@example.com: hi\n"; err != nil || out != want || code != 4 {
		t.Errorf("%v, %q, exit code %d", err, out, code)
	}
}

// When the server takes the user no longer, the program ends with its reason.
func TestTheServerGivesTheUserUp(t *testing.T) {
	out, _, err := play(t, func(n *network, typed *io.PipeWriter, _ func()) {
		say(typed, "hi\n")
		<-n.started
		close(n.done)
		<-n.abandoned
		n.events <- outcome("x1", 503)
	})
	if err == nil || err.Error() != "wrong password" || out != "-- not delivered to bob@example.com (unreachable): hi\n" {
		t.Errorf("%v, %q", err, out)
	}
}

// Input is read no faster than outcomes come, so that none of it is lost.
func TestALotOfInput(t *testing.T) {
	out, code, err := play(t, func(n *network, typed *io.PipeWriter, _ func()) {
		go func() {
			say(typed, strings.Repeat("x\n", 1000))
			_ = typed.Close()
		}()
		for i := range 1000 {
			<-n.started
			synctest.Wait()
			if len(n.started) > maxAhead {
				t.Errorf("%d messages are on their way", len(n.started))
			}
			n.events <- outcome(fmt.Sprint("x", i+1), 200)
		}
	})
	if err != nil || strings.Count(out, "\n") != 1000 || code != 0 {
		t.Errorf("%v, %d lines, exit code %d", err, strings.Count(out, "\n"), code)
	}
}

func TestALineThatIsTooLong(t *testing.T) {
	_, _, err := play(t, func(_ *network, typed *io.PipeWriter, _ func()) {
		say(typed, strings.Repeat("x", maxLine))
		_ = typed.Close()
	})
	if err == nil || !strings.Contains(err.Error(), "reading the input: a line has more than") {
		t.Errorf("%v", err)
	}
}
