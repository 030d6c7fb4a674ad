package chat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"simpd/cmd/simp/internal/outcome"
	"simpd/protocol"
)

// Command describes a command for /help and completion.
type Command struct{ Name, Usage, Text string }

// Commands returns the commands that can be typed.
func Commands() []Command {
	return []Command{
		{"to", "/to IMA[,IMA...]", "write to somebody, or to several at once"},
		{"add", "/add IMA [NAME]", "add a contact, or rename it"},
		{"remove", "/remove IMA", "remove a contact"},
		{"state", "/state available|away|busy [NOTE]", "change what others see"},
		{"block", "/block IMA", "keep somebody from writing to you and seeing you"},
		{"report", "/report IMA [spam|abuse|other]", "report somebody to the operators, with their newest message"},
		{"who", "/who", "show your contacts, and who watches you"},
		{"when", "/when [IMA]", "be told when somebody listens whom a message did not reach"},
		{"retry", "/retry", "send the newest message in doubt again, under the same id"},
		{"verify", "/verify [FINGERPRINT]", "show fingerprints of keys, or mark one as compared"},
		{"reveal", "/reveal", "show the newest message whose signature is bad"},
		{"quit", "/quit", "wait for outcomes, and end"},
		{"help", "/help", "show this list; // sends a text that begins with /"},
	}
}

// command carries out what was typed after a slash.
func (m *Model) command(line string, e Typed) {
	name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	switch name {
	case "to":
		m.commandTo(rest)
	case "add":
		m.commandAdd(rest)
	case "remove":
		m.withAddress(rest, func(a protocol.Address) { m.do(Request{Kind: RemoveContact, Address: a}) })
	case "state":
		m.commandState(rest)
	case "block":
		m.withAddress(rest, func(a protocol.Address) { m.do(Request{Kind: Block, Address: a}) })
	case "report":
		m.commandReport(rest)
	case "who":
		m.commandWho()
	case "when":
		m.commandWhen(rest)
	case "retry":
		m.commandRetry(e)
	case "verify":
		m.commandVerify(rest)
	case "reveal":
		m.commandReveal()
	case "quit":
		m.quitting = true
	case "help", "?":
		for _, c := range Commands() {
			m.say(c.Usage + ": " + c.Text)
		}
	default:
		m.say(fmt.Sprintf("unknown command /%s; /help lists the commands, and // sends a text that begins with /", name))
	}
}

// ParseRecipients reads addresses with commas between them. A name without @
// is a user of the same site as me.
func ParseRecipients(me protocol.Address, list string) ([]protocol.Address, error) {
	var to []protocol.Address
	for one := range strings.SplitSeq(list, ",") {
		a, err := parseAddress(me, strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(to, a) {
			to = append(to, a)
		}
	}
	if len(to) > protocol.MaxRecipients {
		return nil, fmt.Errorf("a message has at most %d recipients", protocol.MaxRecipients)
	}
	return to, nil
}

func parseAddress(me protocol.Address, s string) (protocol.Address, error) {
	if s != "" && !strings.Contains(s, "@") {
		s += "@" + me.Domain()
	}
	a, err := protocol.ParseAddress(s)
	var bad *protocol.Error
	if errors.As(err, &bad) {
		err = errors.New(bad.Text)
	}
	return a, err
}

// withAddress calls f with an address that was typed, or with the one of the
// open conversation if none was.
func (m *Model) withAddress(s string, f func(protocol.Address)) {
	if s == "" {
		m.say("an address is missing, such as bob@" + m.config.Me.Domain())
		return
	}
	a, err := parseAddress(m.config.Me, s)
	if err != nil {
		m.say(err.Error())
		return
	}
	f(a)
}

func (m *Model) commandTo(list string) {
	to, err := ParseRecipients(m.config.Me, list)
	if err != nil {
		m.say(err.Error())
		return
	}
	m.effects = append(m.effects, m.Open(&Conversation{To: to})...)
	m.do(Note{"you write to " + m.current.Title()})
	for _, a := range to {
		if p := m.Presence(a); p.State != protocol.Unknown {
			m.do(ShowPresence{p})
		}
	}
}

// commandReport reports somebody, as spam unless another reason was typed.
func (m *Model) commandReport(rest string) {
	address, word, _ := strings.Cut(rest, " ")
	word = cmp.Or(strings.TrimSpace(word), protocol.ReportSpam.String())
	reason, ok := protocol.ParseReportReason(word)
	if !ok {
		m.say(fmt.Sprintf("unknown reason %s: it is spam, abuse or other", word))
		return
	}
	m.withAddress(address, func(a protocol.Address) { m.do(Request{Kind: Report, Address: a, Reason: reason}) })
}

func (m *Model) commandAdd(rest string) {
	address, name, _ := strings.Cut(rest, " ")
	name = strings.TrimSpace(name)
	if !protocol.ValidNote(name) {
		m.say(fmt.Sprintf("a name has at most %d octets, and no control characters", protocol.MaxNote))
		return
	}
	m.withAddress(address, func(a protocol.Address) { m.do(Request{Kind: AddContact, Address: a, Name: name}) })
}

func (m *Model) commandState(rest string) {
	word, note, hasNote := strings.Cut(rest, " ")
	note = strings.TrimSpace(note)
	state, ok := protocol.ParseListening(word)
	switch {
	case word == "":
		own, ownNote := m.Own()
		m.say("you are shown as " + withNote(own, ownNote))
	case !ok:
		m.say(fmt.Sprintf("unknown state %s: it is available, away or busy", protocol.Quote(word)))
	case !protocol.ValidNote(note):
		m.say(fmt.Sprintf("a note has at most %d octets, and no control characters", protocol.MaxNote))
	default:
		r := Request{Kind: SetState, State: state, Listen: !m.listening}
		if hasNote || m.ownNote != "" { // a state without a note takes the old one away
			r.Note = &note
		}
		m.do(r)
	}
}

func withNote(s protocol.State, note string) string {
	if note == "" {
		return outcome.StateWord(s)
	}
	return outcome.StateWord(s) + ", " + note
}

func (m *Model) commandWho() {
	if len(m.contacts) == 0 {
		m.say("you have no contacts; /add IMA adds one")
	}
	for _, c := range m.contacts {
		p := m.Presence(c.Address)
		line := fmt.Sprintf("%s is %s", c.Address, withNote(p.State, p.Note))
		if c.Name != "" {
			line = fmt.Sprintf("%s (%s)", line, c.Name)
		}
		m.say(line)
	}
	m.do(Request{Kind: Watchers})
}

// commandWhen promises to tell when people listen: those named, or those whom
// the newest message did not reach.
func (m *Model) commandWhen(rest string) {
	var who []protocol.Address
	if rest != "" {
		to, err := ParseRecipients(m.config.Me, rest)
		if err != nil {
			m.say(err.Error())
			return
		}
		who = to
	} else if e := m.current.newest(func(e *Entry) bool { return e.Kind == Sent }); e != nil {
		who = e.undelivered()
	}
	if len(who) == 0 {
		m.say("no message here was not delivered; /when IMA names somebody")
	}
	for _, a := range who {
		p := m.Presence(a)
		if p.State.Listening() {
			m.say(fmt.Sprintf("%s is %s", a, withNote(p.State, p.Note)))
			continue
		}
		m.awaited[a.CaseFold()] = true
		m.watch([]protocol.Address{a})
		m.say(fmt.Sprintf("you will be told when %s is listening", a))
	}
}

// commandVerify shows the keys of the other in a conversation, or marks one.
func (m *Model) commandVerify(fingerprint string) {
	if len(m.current.To) != 1 {
		m.say("choose one user first, with /to IMA")
		return
	}
	m.do(Request{Kind: Verify, Address: m.current.To[0], Name: fingerprint})
}

// commandReveal shows the text of the newest message that was hidden because
// its signature is bad.
func (m *Model) commandReveal() {
	e := m.current.newest(func(e *Entry) bool { return e.Hidden != "" })
	if e == nil {
		m.say("no message here has a bad signature")
		return
	}
	m.say("somebody who is not known to be " + e.From.String() + " wrote: " + e.Hidden)
}

func (m *Model) commandRetry(e Typed) {
	entry := m.current.newest(func(e *Entry) bool { return e.InDoubt() && !m.IsWaiting(e) })
	if entry == nil {
		m.say("no message here is in doubt")
		return
	}
	m.retry(entry, e)
}

// IsWaiting reports whether a sent message waits for an outcome.
func (m *Model) IsWaiting(e *Entry) bool {
	s := m.sending[e.ID]
	return s != nil && s.waiting
}

// Retry sends a message in doubt again, under the same id, to those for whom it
// is in doubt.
func (m *Model) Retry(entry *Entry, e Typed) []Effect {
	if entry.InDoubt() && !m.IsWaiting(entry) {
		m.retry(entry, e)
	}
	return m.takeEffects()
}

func (m *Model) retry(entry *Entry, e Typed) {
	if e.At.Sub(entry.At) > protocol.RepeatWindow {
		m.say("it was written more than five minutes ago, so a client that has it may show it twice")
	}
	entry.Revision++
	m.transmit(m.sending[entry.ID], entry.inDoubt())
}

// onAnswered applies what the server has agreed to.
func (m *Model) onAnswered(e Answered) {
	r := e.Request
	m.requests--
	switch {
	case e.Err != "" && r.Kind == Watch && m.quitting:
		return
	case e.Err != "" && r.Kind == Watch:
		delete(m.awaited, r.Address.CaseFold())
	}
	if e.Err != "" {
		m.say(requestName(r) + " failed: " + e.Err)
		return
	}
	switch r.Kind {
	case AddContact:
		m.contacts = slices.DeleteFunc(m.contacts, func(c protocol.Contact) bool { return c.Address.CaseFold() == r.Address.CaseFold() })
		m.contacts = append(m.contacts, protocol.Contact{Address: r.Address, Name: r.Name})
		m.sortContacts()
		m.watch([]protocol.Address{r.Address})
		m.say(fmt.Sprintf("%s is a contact now", r.Address))
	case RemoveContact:
		m.contacts = slices.DeleteFunc(m.contacts, func(c protocol.Contact) bool { return c.Address.CaseFold() == r.Address.CaseFold() })
		m.say(fmt.Sprintf("%s is no contact any more", r.Address))
	case SetState:
		m.listening, m.state = true, r.State
		if r.Note != nil {
			m.ownNote = *r.Note
		}
		m.say("you are shown as " + withNote(m.state, m.ownNote))
	case Block:
		m.say(fmt.Sprintf("%s can neither write to you nor see you any more; simp acl remove %[1]s undoes it", r.Address))
	case Report:
		m.say(fmt.Sprintf("%s is reported to the operators; /block %[1]s keeps them from writing to you", r.Address))
	case Watchers:
		m.sayWatchers(e)
	case Verify:
		for _, line := range e.Lines {
			m.say(line)
		}
	}
}

func (m *Model) sayWatchers(e Answered) {
	var all []string
	for _, a := range e.Watchers {
		all = append(all, a.String())
	}
	m.say("watching you: " + cmp.Or(strings.Join(all, ", "), "nobody"))
	if e.Partial {
		m.say("there may be others: a node of the site did not answer")
	}
}

func requestName(r Request) string {
	switch r.Kind {
	case AddContact:
		return fmt.Sprintf("adding %s", r.Address)
	case RemoveContact:
		return fmt.Sprintf("removing %s", r.Address)
	case SetState:
		return "changing the state"
	case Block:
		return fmt.Sprintf("blocking %s", r.Address)
	case Report:
		return fmt.Sprintf("reporting %s", r.Address)
	case Watch:
		return fmt.Sprintf("watching %s", r.Address)
	case Verify:
		return fmt.Sprintf("looking at the keys of %s", r.Address)
	}
	return "asking who watches you"
}
