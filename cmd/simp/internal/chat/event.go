package chat

import (
	"time"

	"simpd/protocol"
)

// Event is something that happened. It is one of the types below.
type Event interface{ isEvent() }

// Typed is a message or a command that the user has completed.
type Typed struct {
	Text string
	ID   string // for the message; never used before
	At   time.Time
}

// Arrived is a message that is to be shown. The front end acknowledges it once
// Update has returned and its effects are done.
type Arrived struct {
	From protocol.Address
	At   time.Time
	Text string
	// Signature is what is known of the signature, in words.
	Signature string
	// Hidden is the text of a message whose signature is bad, in place of which
	// Text says why. It is shown on request only.
	Hidden string
}

// Incoming is an Arrived that waits to be answered: nil is "delivered", an error
// "refused". Answer has room for one answer, and is to be given one.
type Incoming struct {
	Arrived
	Answer chan<- error
}

// Outcome reports the outcome of a message.
type Outcome struct {
	ID      string
	Results []Result
}

// PresenceChanged is the presence of somebody, now or after a change.
type PresenceChanged struct{ protocol.Presence }

// ContactsRead is the user's contact list.
type ContactsRead struct{ Contacts []protocol.Contact }

// ContactChanged is somebody who has become a contact through a group, or, without
// one, who is none any more.
type ContactChanged struct{ protocol.Contact }

// LinkChanged is a change of the connection.
type LinkChanged struct {
	Link Link
	Text string // the reason, for people
}

// Displaced means that another session of the user is the only one that
// listens now.
type Displaced struct{ Text string }

// Answered is the end of a Request. Err says for people why it failed, or is
// empty.
type Answered struct {
	Request  Request
	Err      string
	Watchers []protocol.Address // of Watchers
	Partial  bool               // there may be more Watchers
	Lines    []string           // of Verify
}

// Trouble is something that the user has to know.
type Trouble struct{ Text string }

// Quit is the user's wish to end, or the end of the input.
type Quit struct{}

func (Typed) isEvent()           {}
func (Arrived) isEvent()         {}
func (Outcome) isEvent()         {}
func (PresenceChanged) isEvent() {}
func (ContactsRead) isEvent()    {}
func (ContactChanged) isEvent()  {}
func (LinkChanged) isEvent()     {}
func (Displaced) isEvent()       {}
func (Answered) isEvent()        {}
func (Trouble) isEvent()         {}
func (Quit) isEvent()            {}

// Effect is something to be done. It is one of the types below.
type Effect interface{ isEffect() }

// Send sends a message. Its end is an Outcome.
type Send struct {
	ID   string
	To   []protocol.Address
	Text string
}

// Request asks the server for something. Its end is an Answered.
type Request struct {
	Kind    RequestKind
	Address protocol.Address // of AddContact, RemoveContact, Block, Watch, Verify and Report
	Name    string           // of AddContact; of Verify: the fingerprint that was compared, or empty
	State   protocol.State   // of SetState
	Note    *string          // of SetState; nil: as it is
	Listen  bool             // of SetState: listen again

	Reason protocol.ReportReason // of Report
}

// RequestKind is the kind of a Request.
type RequestKind uint8

// The kinds of requests.
const (
	AddContact RequestKind = iota
	RemoveContact
	SetState
	Block
	Watch
	Watchers
	Verify
	Report
)

// ShowMessage shows a received message, where the model itself is not shown.
type ShowMessage struct{ *Entry }

// ShowOutcome shows what became of a message for one recipient.
type ShowOutcome struct {
	Result
	Message string // the text of the message
}

// ShowPresence shows the presence of somebody.
type ShowPresence struct{ protocol.Presence }

// Note shows a line that is no message.
type Note struct{ Text string }

// Notify draws the user's attention, if the terminal does not have it.
type Notify struct{ Title, Text string }

func (Send) isEffect()         {}
func (Request) isEffect()      {}
func (ShowMessage) isEffect()  {}
func (ShowOutcome) isEffect()  {}
func (ShowPresence) isEffect() {}
func (Note) isEffect()         {}
func (Notify) isEffect()       {}
