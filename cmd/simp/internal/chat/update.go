package chat

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"simpd/cmd/simp/internal/outcome"
	"simpd/protocol"
)

// Update takes what happened and returns what is to be done, in that order.
func (m *Model) Update(e Event) []Effect {
	switch e := e.(type) {
	case Typed:
		m.onTyped(e)
	case Arrived:
		m.onArrived(e)
	case Outcome:
		m.onOutcome(e)
	case PresenceChanged:
		m.onPresence(e.Presence)
	case ContactsRead:
		m.contacts = e.Contacts
		m.sortContacts()
	case ContactChanged:
		m.onContactChanged(e.Contact)
	case LinkChanged:
		m.onLink(e)
	case Displaced:
		m.listening = false
		m.say("another session of yours is listening now, and this one no longer is; /state available listens again" + inBrackets(e.Text))
	case Answered:
		m.onAnswered(e)
	case Trouble:
		m.say(e.Text)
	case Quit:
		m.quitting = true
	}
	return m.takeEffects()
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// onContactChanged follows a group of a directory. A contact that the user has
// added keeps its name.
func (m *Model) onContactChanged(c protocol.Contact) {
	at := slices.IndexFunc(m.contacts, func(known protocol.Contact) bool { return known.Address.CaseFold() == c.Address.CaseFold() })
	switch {
	case at >= 0 && c.Group == "":
		m.contacts = slices.Delete(slices.Clone(m.contacts), at, at+1)
	case at >= 0 && m.contacts[at].Group == "": // the user's own
		m.contacts[at].Group = c.Group
	case at >= 0:
		m.contacts[at] = c
	case c.Group != "":
		m.contacts = append(m.contacts, c)
		m.sortContacts()
	}
}

func (m *Model) sortContacts() {
	slices.SortFunc(m.contacts, func(a, b protocol.Contact) int { return a.Address.Compare(b.Address) })
}

// onTyped sends a message or carries out a command.
func (m *Model) onTyped(e Typed) {
	text := strings.TrimRight(e.Text, "\r\n")
	switch {
	case strings.TrimSpace(text) == "":
	case strings.HasPrefix(text, "//"):
		m.send(text[1:], e)
	case strings.HasPrefix(text, "/"):
		m.command(text[1:], e)
	default:
		m.send(text, e)
	}
}

// send sends a text to the open conversation.
func (m *Model) send(text string, e Typed) {
	switch c := m.current; {
	case len(c.To) == 0:
		m.failed = true
		m.say("not sent, because there is no recipient; choose one with /to IMA")
	case !utf8.ValidString(text):
		m.failed = true
		m.say("not sent, because it is not valid UTF-8; a terminal or locale with UTF-8 is required")
	case m.outstanding >= MaxOutstanding:
		m.failed = true
		m.say("not sent, because too many messages are still waiting for their outcomes")
	default:
		entry := Entry{Kind: Sent, At: e.At, ID: e.ID, Text: text}
		for _, to := range c.To {
			entry.Results = append(entry.Results, Result{To: to})
		}
		m.transmit(&sentMessage{entry: c.add(entry, m.config.Keep), conversation: c}, c.To)
	}
}

// transmit sends a message to some of its recipients.
func (m *Model) transmit(s *sentMessage, to []protocol.Address) {
	s.waiting = true
	m.sending[s.entry.ID] = s
	m.outstanding++
	m.do(Send{ID: s.entry.ID, To: to, Text: s.entry.Text})
}

// onArrived adds a received message to the conversation with its sender.
func (m *Model) onArrived(e Arrived) {
	c := m.conversation([]protocol.Address{e.From})
	entry := c.add(Entry{Kind: Received, At: e.At, From: e.From, Text: e.Text, Signature: e.Signature, Hidden: e.Hidden}, m.config.Keep)
	if c != m.current {
		if c.Unread == 0 {
			c.FirstUnread = entry
		}
		c.Unread++
	}
	m.do(ShowMessage{entry})
	m.do(Notify{Title: cmp.Or(m.Name(e.From), e.From.String()), Text: e.Text})
}

// onOutcome records what became of a message. After a 201 only a 200 ends the
// doubt: what else a retry results in is about the retry.
func (m *Model) onOutcome(e Outcome) {
	s := m.sending[e.ID]
	if s == nil || !s.waiting {
		return
	}
	s.waiting = false
	s.entry.Revision++
	m.outstanding--
	for _, r := range e.Results {
		for i := range s.entry.Results {
			if known := &s.entry.Results[i]; known.To == r.To {
				m.settle(s, known, r)
			}
		}
	}
	for i := range s.entry.Results { // of whom nothing was said
		if r := &s.entry.Results[i]; r.Status == Sending {
			m.settle(s, r, Result{To: r.To, Status: protocol.StatusIndeterminate})
		}
	}
	if !s.entry.InDoubt() {
		delete(m.sending, e.ID)
	}
}

func (m *Model) settle(s *sentMessage, known *Result, r Result) {
	if known.Status == Sending || r.Status == protocol.StatusOK {
		known.Status, known.Text = r.Status, r.Text
	} else if r.Status != protocol.StatusIndeterminate {
		m.say(fmt.Sprintf("this attempt: %s; whether %s has the message is still in doubt", outcome.Word(r.Status), known.To))
	}
	if known.Status != protocol.StatusIndeterminate { // that is counted while it lasts
		m.worst = outcome.Worse(m.worst, outcome.ExitCode(known.Status))
	}
	m.do(ShowOutcome{Result: *known, Message: s.entry.Text})
}

// ExitCode returns the exit code of simp send for the worst outcome.
func (m *Model) ExitCode() int {
	code := m.worst
	if m.failed {
		code = outcome.Failed
	}
	if len(m.sending) > 0 {
		code = outcome.Worse(code, outcome.InDoubt)
	}
	return code
}

// onPresence shows a presence, unless it says at the beginning that somebody
// with whom there is no conversation does not listen.
func (m *Model) onPresence(p protocol.Presence) {
	key := p.Address.CaseFold()
	before, known := m.presence[key]
	m.presence[key] = p
	switch {
	case known && before.State == p.State && before.Note == p.Note:
	case known, p.State.Listening(), slices.ContainsFunc(m.current.To, func(a protocol.Address) bool { return a.CaseFold() == key }):
		m.do(ShowPresence{p})
	}
	if p.State.Listening() && m.awaited[key] {
		delete(m.awaited, key)
		text := fmt.Sprintf("%s is listening now", p.Address)
		m.conversation([]protocol.Address{p.Address}).add(Entry{Kind: Notice, Text: text}, m.config.Keep)
		m.do(Notify{Title: cmp.Or(m.Name(p.Address), p.Address.String()), Text: text})
	}
}

// onLink tells how the connection fares.
func (m *Model) onLink(e LinkChanged) {
	before := m.link
	m.link, m.linkText = e.Link, e.Text
	switch {
	case e.Link == Offline && before != Offline:
		m.say("the connection was lost" + inBrackets(e.Text) + "; connecting again; presence is not known now")
	case e.Link == Online && before == Offline:
		m.say("connected again")
	case e.Link == CutOff && before != CutOff:
		m.say("the server is cut off from its site; presence is not known now")
	case e.Link == Online && before == CutOff:
		m.say("the server is part of its site again; presence is known again")
	}
}
