package protocol

import (
	"time"
	"unicode/utf8"
)

// Message is an instant message on its way to one recipient. Its fields are
// not changed once it is handed on; Entity is shared by all who hold it.
// (SIMP.md, section 6.)
type Message struct {
	From, To Address
	ID       string    // 1 to 64 octets, chosen by the sender or its server
	Time     time.Time // when the sender's server took it; for display
	Entity   []byte    // a MIME entity, passed on octet for octet
	Deadline time.Time // monotonic: not begun to be written by then, it is dropped
	// Repeatable says that the sender chose ID, and so may repeat the message.
	Repeatable bool
	// Trace names who follows the message from node to node, for tracing (a
	// W3C traceparent); empty: nobody does. No client ever sees it.
	Trace string
}

// Outcome is the result of a message for one recipient.
type Outcome struct {
	Status Status
	Text   string // for people; may be empty
	Retry  int    // after how many seconds to try again; 0: not known
}

// Inbox receives the messages of one listening session.
type Inbox interface {
	// Deliver takes m and calls done exactly once, soon or when the client
	// has answered, from any goroutine, perhaps before Deliver returns.
	// Neither Deliver nor done ever block. The outcome's status is
	// 200 (the client acknowledged), 486 (it refused), 409 (it has the id
	// with other octets), 481 (it does not read: nothing was handed over),
	// 201 (handed over and not answered) or 480 (the session does not
	// listen any more: nothing was handed over).
	Deliver(m *Message, done func(Outcome))
}

// ValidID reports whether s may be the id of a message: 1 to 64 of ALPHA,
// DIGIT, "-", "_" and ".".
func ValidID(s string) bool {
	if len(s) < 1 || len(s) > MaxID {
		return false
	}
	return isToken(s)
}

// ValidNote reports whether s may be a note, an agent or a contact's name: at
// most 256 octets of UTF-8 without control characters. What comes from the
// wire has the latter two already.
func ValidNote(s string) bool {
	return len(s) <= MaxNote && !hasControl(s) && utf8.ValidString(s)
}

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
