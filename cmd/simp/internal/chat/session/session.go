// Package session connects the model of simp chat with a server: it carries out
// what the model asks of the network, and tells what happens there.
package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"simpd/cmd/simp/internal/chat"
	"simpd/cmd/simp/internal/entity"
	"simpd/cmd/simp/internal/keyring"
	"simpd/protocol"
	"simpd/protocol/client"
)

const (
	// sendWait bounds how long a message waits for a connection and then for
	// its outcome.
	sendWait = 30 * time.Second
	// requestWait bounds how long a request waits for a connection and then for
	// its answer.
	requestWait = 30 * time.Second
)

// Session is the connection of one user.
type Session struct {
	client   *client.Client
	events   chan chat.Event
	incoming chan chat.Incoming
	sends    chan queuedSend
	done     chan struct{} // closed when nobody reads events any more
	ctx      context.Context
	abandon  context.CancelFunc
	wg       sync.WaitGroup
	ready    chan struct{} // closed when the fields above and below are set
	signing  signing
	received received
}

// queuedSend is a message on its way to the connection.
type queuedSend struct {
	chat.Send
	deadline time.Time
}

// Open logs in, reads the contact list, listens, and watches the contacts. What
// happens from then on is told by Events and Incoming.
//
// With the keyring that open returns, received signatures are verified, and
// messages are signed unless signs is false.
func Open(ctx context.Context, config client.Config, state protocol.ListenRequest, open func(*client.Client) *keyring.Keyring, signs bool) (*Session, error) {
	s := &Session{
		events:   make(chan chat.Event, 64),
		incoming: make(chan chat.Incoming),
		sends:    make(chan queuedSend, 2*chat.MaxOutstanding),
		done:     make(chan struct{}),
		ready:    make(chan struct{}),
	}
	s.ctx, s.abandon = context.WithCancel(context.Background())
	config.OnMessage, config.OnPresence, config.OnEvent, config.OnKeys = s.onMessage, s.onPresence, s.onEvent, s.keysChanged
	config.OnContact = func(n protocol.ContactNotice) { s.emit(chat.ContactChanged{Contact: n.Contact}) }
	c, err := client.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	s.client = c
	s.beginSigning(open(c), signs)
	close(s.ready)
	s.wg.Go(s.startSends)
	if err := s.begin(ctx, state); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// begin listens only after the contact list is there: until then messages would
// wait to be shown.
func (s *Session) begin(ctx context.Context, state protocol.ListenRequest) error {
	contacts, err := s.client.Contacts(ctx)
	if err != nil {
		return err
	}
	s.emit(chat.ContactsRead{Contacts: contacts})
	if _, err := s.client.Listen(ctx, state); err != nil {
		return err
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, requestWait)
		defer cancel()
		if _, err := s.client.WatchContacts(ctx); err != nil {
			s.emit(chat.Trouble{Text: "the presence of your contacts is not known: " + explain(err)})
		}
	})
	return nil
}

// User returns the user's address.
func (s *Session) User() protocol.Address { return s.client.User() }

// Events returns what happens. They are to be read until Close is called.
func (s *Session) Events() <-chan chat.Event { return s.events }

// Incoming returns the messages that arrive, each to be answered.
func (s *Session) Incoming() <-chan chat.Incoming { return s.incoming }

// Done is closed when there will be no more connections; Err tells why.
func (s *Session) Done() <-chan struct{} { return s.client.Done() }

// Err returns why Done is closed.
func (s *Session) Err() error { return s.client.Err() }

// Abandon stops waiting for outcomes: what has none is in doubt, or not
// delivered if it was certainly not sent.
func (s *Session) Abandon() { s.abandon() }

// Close refuses what arrives from now on, and ends the connection.
func (s *Session) Close() {
	close(s.done)
	s.abandon()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.client.Close(ctx)
	s.wg.Wait()
}

// Start carries out what the model asks of the network; it does not wait.
func (s *Session) Start(e chat.Effect) {
	switch e := e.(type) {
	case chat.Send:
		s.sends <- queuedSend{e, time.Now().Add(sendWait)} // has room for all that the model sends at a time
	case chat.Request:
		s.wg.Go(func() { s.emit(s.request(e)) })
	}
}

func (s *Session) emit(e chat.Event) {
	select {
	case s.events <- e:
	case <-s.done:
	}
}

// errQuitting refuses messages while the program ends.
var errQuitting = protocol.Errorf(protocol.StatusRefused, "the recipient's program is being closed")

func (s *Session) onMessage(_ context.Context, m *protocol.Message) error {
	select {
	case <-s.ready:
	case <-s.done:
		return errQuitting
	}
	s.received.keep(m)
	text := entity.Read(m.Entity)
	arrived, accept := s.describe(m, chat.Arrived{From: m.From, At: m.Time, Text: text.Plain(len(m.Entity))})
	if accept == nil {
		return errQuitting
	}
	err := s.show(arrived)
	if err == nil {
		accept()
	}
	return err
}

// show has a message shown, and returns the answer to it.
func (s *Session) show(arrived chat.Arrived) error {
	answer := make(chan error, 1)
	select {
	case s.incoming <- chat.Incoming{Arrived: arrived, Answer: answer}:
	case <-s.done:
		return errQuitting
	}
	select {
	case err := <-answer:
		return err
	case <-s.done:
	}
	select { // what was answered before the end counts
	case err := <-answer:
		return err
	default:
		return errQuitting
	}
}

// keysChanged handles a change of keys once the session is set up.
func (s *Session) keysChanged(n protocol.KeyNotice) {
	select {
	case <-s.ready:
		s.wg.Go(func() { s.onKeys(n) }) // it may wait, and events must not
	case <-s.done:
	}
}

func (s *Session) onPresence(p protocol.Presence) { s.emit(chat.PresenceChanged{Presence: p}) }

func (s *Session) onEvent(e client.Event) {
	switch e.Kind {
	case client.Lost, client.Retrying:
		s.emit(chat.LinkChanged{Link: chat.Offline, Text: e.Text})
	case client.Connected, client.Moved, client.Fresh:
		s.emit(chat.LinkChanged{Link: chat.Online})
	case client.Stale:
		s.emit(chat.LinkChanged{Link: chat.CutOff, Text: e.Text})
	case client.Unlistened:
		s.emit(chat.Displaced{Text: e.Text})
	}
}

// startSends hands messages to the connection in the order in which they were
// written.
func (s *Session) startSends() {
	for {
		select {
		case q := <-s.sends:
			s.startSend(q)
		case <-s.done:
			return
		}
	}
}

func (s *Session) startSend(q queuedSend) {
	ctx, cancel := context.WithDeadline(s.ctx, q.deadline)
	content, err := entity.FromText(q.Text)
	if err != nil {
		cancel()
		s.emit(outcomeOf(q.Send, client.Report{}, err))
		return
	}
	sending, err := s.client.StartSend(ctx, s.sign(client.Message{To: q.To, Entity: content, ID: q.ID}))
	if err != nil {
		cancel()
		s.emit(outcomeOf(q.Send, client.Report{}, err))
		return
	}
	s.wg.Go(func() {
		defer cancel()
		report, err := sending.Await(ctx)
		s.emit(outcomeOf(q.Send, report, err))
	})
}

// outcomeOf returns the outcome of a message. What was certainly not sent is
// not delivered.
func outcomeOf(m chat.Send, report client.Report, err error) chat.Event {
	o := chat.Outcome{ID: m.ID}
	for _, r := range report.Results {
		o.Results = append(o.Results, chat.Result{To: r.To, Status: r.Status, Text: r.Text})
	}
	if err != nil {
		for _, to := range m.To {
			o.Results = append(o.Results, chat.Result{To: to, Status: protocol.StatusUnavailable, Text: explain(err)})
		}
	}
	return o
}

func (s *Session) request(r chat.Request) chat.Event {
	ctx, cancel := context.WithTimeout(s.ctx, requestWait)
	defer cancel()
	a := chat.Answered{Request: r}
	var err error
	switch r.Kind {
	case chat.AddContact:
		err = s.client.SetContact(ctx, protocol.Contact{Address: r.Address, Name: r.Name})
	case chat.RemoveContact:
		err = s.client.RemoveContact(ctx, r.Address)
	case chat.SetState:
		err = s.setState(ctx, r)
	case chat.Block:
		err = s.block(ctx, r.Address)
	case chat.Report:
		err = s.report(ctx, r)
	case chat.Watch:
		_, err = s.client.Watch(ctx, r.Address)
	case chat.Verify:
		a.Lines, err = s.verifyKey(ctx, r)
	case chat.Watchers:
		a.Watchers, a.Partial, err = s.client.Watchers(ctx)
	}
	if err != nil {
		a.Err = explain(err)
	}
	return a
}

func (s *Session) setState(ctx context.Context, r chat.Request) error {
	if !r.Listen {
		_, err := s.client.SetState(ctx, r.State, r.Note)
		return err
	}
	listen := protocol.ListenRequest{State: r.State}
	if r.Note != nil {
		listen.Note = *r.Note
	}
	_, err := s.client.Listen(ctx, listen)
	return err
}

// block denies somebody both to write and to watch.
func (s *Session) block(ctx context.Context, a protocol.Address) error {
	who, err := protocol.ParsePattern(a.String())
	if err != nil {
		return err
	}
	return s.client.SetRule(ctx, protocol.Rule{Who: who, Message: protocol.Deny, Presence: protocol.Deny})
}

// explain says for people why something failed.
func explain(err error) string {
	var refused *protocol.Error
	switch {
	case errors.As(err, &refused):
		return refused.Text
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "there is no connection to the server"
	}
	return err.Error()
}
