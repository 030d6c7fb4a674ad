package client

import (
	"strconv"
	"time"

	"simpd/protocol"
)

// errand is one request to another site, from its being wanted to its answer.
type errand struct {
	verb   string
	params func(b []byte, left time.Duration) []byte // left: of its time, as it is handed over
	body   []byte                                    // a literal, if not nil
	until  time.Time                                 // it may be handed over until then
	watch  bool                                      // it is made anew with each connection
	apply  func(a answer)                            // if not nil: called before done, with the partner locked
	done   func(a answer)                            // called exactly once, never with a lock held

	share   share               // what is held for it, of whom it is made for
	asked   []protocol.Address  // whom a 100 line is due for
	heard   []protocol.Presence // what was said of them; a zero address: nothing
	kept    int                 // octets that the account holds for heard
	partial int                 // 100 lines that came
	number  uint64
	end     int64     // of its octets, in the route's outbox
	handed  time.Time // when it was handed over
	told    bool      // done was called, as the answer is late
}

// answer is what became of an errand: the other site's response, or none; or
// why nothing was handed over.
type answer struct {
	heard  []protocol.Presence
	final  *protocol.Line   // nil: handed over, and no answer came
	failed protocol.Outcome // its status is not 0: nothing was handed over
}

// late is how long after its time an errand is still answered for; rule 4 of
// section 6 allows one second.
const late = 300 * time.Millisecond

func (e *errand) encode(tag string, now time.Time) []byte {
	b := make([]byte, 0, 256+len(e.body))
	b = protocol.AppendRequest(b, tag, e.verb)
	b = e.params(b, e.until.Sub(now))
	if e.body != nil {
		b = protocol.AppendLiteral(b, len(e.body))
	}
	return append(protocol.AppendEnd(b), e.body...)
}

// sendErrand is a SEND. The time left travels with it, in whole seconds.
func sendErrand(m *protocol.Message, done func(protocol.Outcome)) *errand {
	return &errand{
		verb: "SEND", body: nonNil(m.Entity), until: m.Deadline, share: share{user: m.From},
		params: func(b []byte, left time.Duration) []byte {
			b = protocol.AppendParam(b, "from", m.From.String())
			b = protocol.AppendParam(b, "to", m.To.String())
			b = protocol.AppendParam(b, "id", m.ID)
			return protocol.AppendParam(b, "timeout", strconv.Itoa(wholeSeconds(left)))
		},
		done: func(a answer) { done(outcome(m, a)) },
	}
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// wholeSeconds rounds: what is in doubt for half a second is better than a
// message that is not tried.
func wholeSeconds(left time.Duration) int {
	return max(1, int(left.Round(time.Second)/time.Second))
}

// outcome is what the other site's answer means to the sender. Delivered is
// only what it called so; what can't be understood is in doubt.
func outcome(m *protocol.Message, a answer) protocol.Outcome {
	l := a.final
	switch {
	case a.failed.Status != 0:
		return a.failed
	case l == nil:
		return protocol.Outcome{Status: protocol.StatusIndeterminate, Text: "handed over to " + m.To.Domain() + ", and no answer came"}
	case !wellFormed(m, l):
		return protocol.Outcome{Status: protocol.StatusIndeterminate, Text: "handed over, and " + m.To.Domain() + " answered what can't be understood"}
	}
	return protocol.Outcome{Status: l.Status, Text: l.Text}
}

// wellFormed reports whether l can be the answer to a SEND to one recipient.
func wellFormed(m *protocol.Message, l *protocol.Line) bool {
	if id, ok := l.Get("id"); ok && id != m.ID {
		return false
	}
	switch l.Status / 100 {
	case 2:
		return l.Status == protocol.StatusOK || l.Status == protocol.StatusIndeterminate
	case 4, 5:
		return true
	}
	return false
}

// queryErrand asks for one presence.
func queryErrand(by, of protocol.Address, until time.Time, done func(protocol.Presence)) *errand {
	return &errand{
		verb: "QUERY", until: until, share: share{user: by}, asked: []protocol.Address{of},
		params: func(b []byte, _ time.Duration) []byte {
			b = protocol.AppendParam(b, "ima", of.String())
			return protocol.AppendParam(b, "by", by.String())
		},
		done: func(a answer) { done(a.presence(0, of)) },
	}
}

// cost returns what an errand holds in octets: what is to be said, once as it
// waits and once as it is written, and what is known of it.
func (e *errand) cost() int { return errandCost + 2*len(e.body) }

const errandCost = 1 << 10

// take takes a 100 line. It returns false for one that was not asked for: no
// more lines are due than addresses were named, and none twice.
func (e *errand) take(l *protocol.Line) bool {
	e.partial++
	if e.partial > max(1, len(e.asked)) {
		return false
	}
	if len(e.asked) == 0 {
		return true // and means nothing
	}
	p, ok := presenceOf(l)
	if !ok {
		return true
	}
	i := e.place(p.Address)
	if i < 0 {
		return true // of somebody else, so that nothing is known of whom was asked for
	}
	if e.heard == nil {
		e.heard = make([]protocol.Presence, len(e.asked))
	}
	if !e.heard[i].Address.IsZero() {
		return false
	}
	p.Address = e.asked[i]
	e.heard[i] = sensible(p)
	return true
}

// place returns which of those asked for an address is: by its name, or, where
// the other site calls it otherwise, by its turn; -1: none.
func (e *errand) place(a protocol.Address) int {
	turn, folded := e.partial-1, a.FoldCase()
	if e.asked[turn].FoldCase() == folded {
		return turn
	}
	for i, of := range e.asked {
		if of.FoldCase() == folded {
			return i
		}
	}
	if e.asked[turn].Domain() == a.Domain() {
		return turn
	}
	return -1
}

// presence returns what an answer says of the address that was named as number
// i, which is of.
func (a *answer) presence(i int, of protocol.Address) protocol.Presence {
	if a.final == nil || a.final.Status != protocol.StatusOK || i >= len(a.heard) || a.heard[i].Address.IsZero() {
		return unknown(of)
	}
	return a.heard[i]
}

// sensible takes out of another site's word what has no meaning.
func sensible(p protocol.Presence) protocol.Presence {
	if !p.State.Listening() {
		p.Since, p.Note = time.Time{}, ""
	}
	if !protocol.ValidNote(p.Note) {
		p.Note = ""
	}
	return p
}
