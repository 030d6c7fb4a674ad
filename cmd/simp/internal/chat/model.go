// Package chat is the model of simp chat: conversations, contacts, presence,
// outcomes, drafts and commands. It knows no network, no terminal and no clock:
// Update takes what happened and returns what is to be done, and a front end
// (package line or screen) does it and shows the model.
package chat

import (
	"slices"
	"strings"
	"time"

	"simpd/protocol"
)

// Config configures a Model.
type Config struct {
	Me   protocol.Address
	Zone *time.Location
	// Keep limits the entries that are kept of each conversation; 0: 20,000.
	Keep int
}

// MaxOutstanding limits the messages that wait for their outcome.
const MaxOutstanding = 200

const (
	defaultKeep = 20_000
	maxOctets   = 16 << 20 // of text kept of each conversation
)

// Model is the state of a chat. It is used by one goroutine at a time.
type Model struct {
	config        Config
	home          *Conversation // what concerns no conversation
	current       *Conversation
	conversations []*Conversation // without home, in the order of their first appearance
	contacts      []protocol.Contact
	presence      map[protocol.Address]protocol.Presence // by folded address
	awaited       map[protocol.Address]bool              // by folded address: to be told when they listen
	sending       map[string]*sentMessage                // by id
	outstanding   int                                    // of sending, those that wait for an outcome
	requests      int                                    // that wait for an Answered
	link          Link
	linkText      string
	listening     bool
	state         protocol.State // the user's own
	ownNote       string
	quitting      bool
	failed        bool // a text became no message
	worst         int  // exit code of the messages that are not in sending
	effects       []Effect
}

// sentMessage is a message that was sent and is not delivered to everybody.
type sentMessage struct {
	entry        *Entry
	conversation *Conversation
	waiting      bool // for an outcome
}

// Link is the state of the connection.
type Link uint8

// The states of the connection.
const (
	Online  Link = iota
	Offline      // connecting again
	CutOff       // connected to a node that is cut off from its site
)

// New returns a model of a user who is connected and listens.
func New(config Config) *Model {
	if config.Keep == 0 {
		config.Keep = defaultKeep
	}
	if config.Zone == nil {
		config.Zone = time.UTC
	}
	m := &Model{
		config:    config,
		home:      &Conversation{},
		presence:  make(map[protocol.Address]protocol.Presence),
		awaited:   make(map[protocol.Address]bool),
		sending:   make(map[string]*sentMessage),
		listening: true,
		state:     protocol.Available,
	}
	m.current = m.home
	return m
}

// Me returns the user's address.
func (m *Model) Me() protocol.Address { return m.config.Me }

// Zone returns the time zone in which times are shown.
func (m *Model) Zone() *time.Location { return m.config.Zone }

// Current returns the open conversation. Without one it is Home.
func (m *Model) Current() *Conversation { return m.current }

// Home returns the conversation that holds notices only.
func (m *Model) Home() *Conversation { return m.home }

// Link returns the state of the connection, and why it is not Online.
func (m *Model) Link() (Link, string) { return m.link, m.linkText }

// Own returns the user's own state and note; Deaf if this session does not
// listen.
func (m *Model) Own() (protocol.State, string) {
	if !m.listening {
		return protocol.Deaf, ""
	}
	return m.state, m.ownNote
}

// Outstanding returns how many messages wait for their outcome.
func (m *Model) Outstanding() int { return m.outstanding }

// Quitting reports whether the user has asked to quit. No message is to be
// taken then.
func (m *Model) Quitting() bool { return m.quitting }

// Finished reports whether there is nothing left to wait for.
func (m *Model) Finished() bool { return m.quitting && m.outstanding == 0 && m.requests == 0 }

// Presence returns the presence of a user: Unknown if it can't be known now.
func (m *Model) Presence(a protocol.Address) protocol.Presence {
	p, known := m.presence[a.CaseFold()]
	if m.link != Online || !known {
		return protocol.Presence{Address: a, State: protocol.Unknown}
	}
	p.Address = a
	return p
}

// Contacts returns the contact list, by address.
func (m *Model) Contacts() []protocol.Contact { return m.contacts }

// Roster returns all conversations and contacts in the order in which they are
// listed: contacts by address, then other conversations by age.
func (m *Model) Roster() []*Conversation {
	var list []*Conversation
	for _, c := range m.contacts {
		if known := m.find(conversationKey([]protocol.Address{c.Address})); known != nil {
			list = append(list, known)
		} else {
			list = append(list, &Conversation{To: []protocol.Address{c.Address}})
		}
	}
	for _, c := range m.conversations {
		if len(c.To) > 1 || !m.isContact(c.To[0]) {
			list = append(list, c)
		}
	}
	return list
}

func (m *Model) isContact(a protocol.Address) bool {
	return slices.ContainsFunc(m.contacts, func(c protocol.Contact) bool { return c.Address.CaseFold() == a.CaseFold() })
}

// Name returns the name of a contact, or "".
func (m *Model) Name(a protocol.Address) string {
	for _, c := range m.contacts {
		if c.Address.CaseFold() == a.CaseFold() {
			return c.Name
		}
	}
	return ""
}

func (m *Model) find(key string) *Conversation {
	for _, c := range m.conversations {
		if c.key == key {
			return c
		}
	}
	return nil
}

// conversation returns the conversation with these people, which it begins if
// there is none.
func (m *Model) conversation(to []protocol.Address) *Conversation {
	key := conversationKey(to)
	c := m.find(key)
	if c == nil {
		c = &Conversation{To: to, key: key}
		m.conversations = append(m.conversations, c)
	}
	return c
}

// conversationKey identifies a conversation by the people in it.
func conversationKey(to []protocol.Address) string {
	var all []string
	for _, a := range to {
		all = append(all, a.CaseFold().String())
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "\x00")
}

// Open opens a conversation of Roster, or Home.
func (m *Model) Open(c *Conversation) []Effect {
	if c != m.home {
		c = m.conversation(c.To)
		m.watch(c.To)
	}
	m.current.markRead()
	m.current = c
	c.Unread = 0
	return m.takeEffects()
}

// Cycle opens the conversation that follows the open one in Roster by so many
// places.
func (m *Model) Cycle(places int) []Effect {
	roster := m.Roster()
	if len(roster) == 0 {
		return nil
	}
	at := slices.IndexFunc(roster, func(c *Conversation) bool { return c == m.current })
	if at < 0 && places < 0 {
		at = 0
	}
	return m.Open(roster[((at+places)%len(roster)+len(roster))%len(roster)])
}

// watch asks for the presence of people that is not known.
func (m *Model) watch(who []protocol.Address) {
	for _, a := range who {
		if _, known := m.presence[a.CaseFold()]; !known {
			m.do(Request{Kind: Watch, Address: a})
		}
	}
}

func (m *Model) do(e Effect) {
	if _, ok := e.(Request); ok {
		m.requests++
	}
	m.effects = append(m.effects, e)
}

func (m *Model) takeEffects() []Effect {
	all := m.effects
	m.effects = nil
	return all
}

// say tells the user something that is no message.
func (m *Model) say(text string) {
	m.current.add(Entry{Kind: Notice, Text: text}, m.config.Keep)
	m.do(Note{text})
}
