package chat

import (
	"slices"
	"strings"
	"time"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
)

// Conversation holds the messages between the user and one or several others.
type Conversation struct {
	To      []protocol.Address // the others; empty for Home
	Entries []*Entry
	Unread  int    // messages that the user has not seen
	Draft   string // what the user has begun to write
	// FirstUnread is the first entry that the user had not seen when the
	// conversation was opened, or nil.
	FirstUnread *Entry

	key    string
	octets int // of text in Entries
}

// Kind is the kind of an Entry.
type Kind uint8

// The kinds of entries.
const (
	Received Kind = iota
	Sent
	Notice
)

// Entry is one message or notice of a conversation.
type Entry struct {
	Kind    Kind
	At      time.Time        // zero for notices
	From    protocol.Address // of a received message
	ID      string           // of a sent message
	Text    string           // as it was written: not to be shown without escaping
	Results []Result         // of a sent message

	Signature, Hidden string // of a received message: see Arrived
	// Revision counts the changes of Results.
	Revision int
}

// Result is the outcome of a message for one recipient.
type Result struct {
	To     protocol.Address
	Status protocol.Status // Sending until the outcome is known
	Text   string          // the reason that the other side gave
}

// Sending is the status of a message that has no outcome yet.
const Sending protocol.Status = 0

// inDoubt returns the recipients for whom the message is in doubt.
func (e *Entry) inDoubt() (to []protocol.Address) {
	for _, r := range e.Results {
		if r.Status == protocol.StatusIndeterminate {
			to = append(to, r.To)
		}
	}
	return to
}

// InDoubt reports whether the message may be sent again.
func (e *Entry) InDoubt() bool { return e.Kind == Sent && len(e.inDoubt()) > 0 }

// undelivered returns the recipients who certainly have not got the message.
func (e *Entry) undelivered() (to []protocol.Address) {
	for _, r := range e.Results {
		if r.Status/100 >= 4 {
			to = append(to, r.To)
		}
	}
	return to
}

// size returns the octets that count for the limit of a conversation.
func (e *Entry) size() int { return len(e.Text) + len(e.Hidden) }

// add appends an entry, and drops the oldest ones beyond keep.
func (c *Conversation) add(e Entry, keep int) *Entry {
	c.Entries = append(c.Entries, &e)
	c.octets += e.size()
	for len(c.Entries) > keep || c.octets > maxOctets && len(c.Entries) > 1 {
		c.octets -= c.Entries[0].size()
		c.Entries[0] = nil
		c.Entries = c.Entries[1:]
	}
	return &e
}

// markRead forgets which entries were new.
func (c *Conversation) markRead() { c.FirstUnread = nil }

// newest returns the newest entry of which f is true, or nil.
func (c *Conversation) newest(f func(*Entry) bool) *Entry {
	for _, e := range slices.Backward(c.Entries) {
		if f(e) {
			return e
		}
	}
	return nil
}

// Title returns the addresses of a conversation, for one line of a terminal.
func (c *Conversation) Title() string {
	var all []string
	for _, a := range c.To {
		all = append(all, cli.Escape(a.String()))
	}
	return strings.Join(all, ", ")
}
