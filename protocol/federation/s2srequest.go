package federation

import (
	"errors"
	"strconv"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
	"simpd/protocol/signature"
)

// s2sRequest is one request to another site, from its submission to its
// response.
type s2sRequest struct {
	verb     string
	params   func(b []byte, left time.Duration) []byte // left: the time left when it is sent
	body     []byte                                    // a literal, or nil
	unsent   int                                       // octets of the message in whose place it is sent
	deadline time.Time                                 // it may be sent until then
	isWatch  bool                                      // it is made again on each new connection
	asksOnly bool                                      // it changes nothing, so that it may be sent twice
	apply    func(a s2sResponse)                       // may be nil; called before done, with the remoteDomain locked
	done     func(a s2sResponse)                       // for SEND and QUERY called exactly once, without a lock; nil for UNWATCH

	share     userShare           // what it holds of its user's shares
	addresses []protocol.Address  // for which a 100 line is expected
	presences []protocol.Presence // received for them; a zero address: none
	reserved  int                 // octets reserved of the registrant's memory for presences
	partial   int                 // 100 lines received
	wantsKeys bool                // it is a KEYS
	keys      []signature.Key     // received for it
	number    uint64
	endOffset int64     // of its octets in the connection's write queue
	sentAt    time.Time // when it was sent
	answered  bool      // done was called because the response is late
}

// s2sResponse is the result of an s2sRequest: the other site's response or
// its absence, or why nothing was sent.
type s2sResponse struct {
	presences []protocol.Presence
	keys      []signature.Key
	final     *protocol.Line   // nil: sent, but no response arrived
	failed    protocol.Outcome // if its status is not 0: nothing was sent
}

// answerGrace is how long after its deadline a request is answered at the
// latest. It is less than router.outcomeGrace, so that the router hears the
// reason before it gives up; see server.answerGrace.
const answerGrace = 300 * time.Millisecond

func (e *s2sRequest) encode(tag string, now time.Time) []byte {
	b := make([]byte, 0, 256+len(e.body))
	b = protocol.AppendRequest(b, tag, e.verb)
	b = e.params(b, e.deadline.Sub(now))
	if e.body != nil {
		b = protocol.AppendLiteral(b, len(e.body))
	}
	return append(protocol.AppendEnd(b), e.body...)
}

// newSend returns a SEND. The time left is transmitted in whole seconds.
func newSend(m *protocol.Message, done func(protocol.Outcome)) *s2sRequest {
	return &s2sRequest{
		verb: "SEND", body: nonNil(m.Entity), deadline: m.Deadline, share: userShare{user: m.From},
		params: func(b []byte, left time.Duration) []byte {
			b = protocol.AppendParam(b, "from", m.From.String())
			b = protocol.AppendParam(b, "to", m.To.String())
			b = protocol.AppendParam(b, "id", m.ID)
			return protocol.AppendParam(b, "timeout", strconv.Itoa(wholeSeconds(left)))
		},
		done: func(a s2sResponse) { done(sendOutcome(m, a)) },
	}
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// wholeSeconds rounds to the nearest second: being in doubt for half a second
// is better than not trying.
func wholeSeconds(left time.Duration) int {
	return max(1, int(left.Round(time.Second)/time.Second))
}

// sendOutcome returns what the other site's response means for the sender.
// Only an explicit 200 is "delivered"; a response that makes no sense leaves
// the message in doubt.
func sendOutcome(m *protocol.Message, a s2sResponse) protocol.Outcome {
	l := a.final
	switch {
	case a.failed.Status != 0:
		return a.failed
	case l == nil:
		return protocol.Outcome{Status: protocol.StatusIndeterminate, Text: "handed over to " + m.To.Domain() + ", and no answer came"}
	case !isValidResponse(m, l):
		return protocol.Outcome{Status: protocol.StatusIndeterminate, Text: "handed over, and " + m.To.Domain() + " answered what can't be understood"}
	}
	return protocol.Outcome{Status: l.Status, Text: l.Text, Retry: retryOf(l)}
}

// maxRetrySeconds bounds how long another site may tell senders to wait.
const maxRetrySeconds = 3600

// retryOf returns after how many seconds the other site wants to be asked again,
// if it says that with a 429; 0: not known.
func retryOf(l *protocol.Line) int {
	value, ok := l.Get("retry")
	if l.Status != protocol.StatusSlowDown || !ok {
		return 0
	}
	seconds, err := strconv.ParseUint(value, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return maxRetrySeconds
	}
	return int(min(seconds, maxRetrySeconds)) // 0 after any other error
}

// isValidResponse reports whether l can be the response to a SEND to one
// recipient.
func isValidResponse(m *protocol.Message, l *protocol.Line) bool {
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

// newRefusal returns a QUERY in place of the SEND of a message that must not be
// sent, so that the sender waits as long as for the answer that the recipient does
// not listen. The other site confirms what it answers, as it does for a SEND.
func newRefusal(m *protocol.Message, done func(protocol.Outcome)) *s2sRequest {
	return &s2sRequest{
		verb: "QUERY", unsent: len(m.Entity), deadline: m.Deadline, share: userShare{user: m.From}, addresses: []protocol.Address{m.To},
		params: func(b []byte, _ time.Duration) []byte {
			b = protocol.AppendParam(b, "ima", m.To.String())
			b = protocol.AppendParam(b, "fresh", "yes")
			return protocol.AppendParam(b, "by", m.From.String())
		},
		done: func(a s2sResponse) {
			o := sendOutcome(m, a)
			if o.Status == protocol.StatusOK {
				folded := m.To.RuleKey(true).String() // as the site of that user has it
				o = protocol.Outcome{Status: protocol.StatusNotListening, Text: protocol.StatusNotListening.ExplainOutcome(folded)}
			}
			done(o)
		},
	}
}

// newQuery returns a QUERY for one user.
func newQuery(by, of protocol.Address, until time.Time, done func(protocol.Presence)) *s2sRequest {
	return &s2sRequest{
		verb: "QUERY", deadline: until, share: userShare{user: by}, addresses: []protocol.Address{of}, asksOnly: true,
		params: func(b []byte, _ time.Duration) []byte {
			b = protocol.AppendParam(b, "ima", of.String())
			return protocol.AppendParam(b, "by", by.String())
		},
		done: func(a s2sResponse) { done(a.presenceAt(0, of)) },
	}
}

// newKeysRequest returns a KEYS for one user.
func newKeysRequest(q protocol.KeysRequest, until time.Time, done func(keyAnswer)) *s2sRequest {
	return &s2sRequest{
		verb: "KEYS", deadline: until, share: userShare{user: q.By}, wantsKeys: true, asksOnly: true,
		params: func(b []byte, _ time.Duration) []byte {
			b = protocol.AppendParam(b, "ima", q.Of.String())
			if q.Fresh {
				b = protocol.AppendParam(b, "fresh", "yes")
			}
			return protocol.AppendParam(b, "by", q.By.String())
		},
		done: func(a s2sResponse) { done(newKeyAnswer(a)) },
	}
}

// newReport returns a REPORT.
func newReport(q protocol.Report, until time.Time, done func(error)) *s2sRequest {
	return &s2sRequest{
		verb: "REPORT", body: q.Entity, deadline: until, share: userShare{user: q.By},
		params: func(b []byte, _ time.Duration) []byte {
			b = protocol.AppendParam(b, "ima", q.About.String())
			if q.ID != "" {
				b = protocol.AppendParam(b, "id", q.ID)
			}
			b = protocol.AppendParam(b, "reason", q.Reason.String())
			b = protocol.AppendParam(b, "by", q.By.String())
			if q.Entity == nil && q.Text != "" {
				b = protocol.AppendText(b, q.Text)
			}
			return b
		},
		done: func(a s2sResponse) { done(reportError(a)) },
	}
}

// reportError returns why another site has not taken a report; nil if it has.
func reportError(a s2sResponse) error {
	switch l := a.final; {
	case a.failed.Status != 0:
		return &protocol.Error{Status: a.failed.Status, Text: a.failed.Text}
	case l == nil:
		return protocol.Errorf(protocol.StatusIndeterminate, "no answer came from the user's site")
	case l.Status != protocol.StatusOK:
		return &protocol.Error{Status: l.Status, Text: l.Text}
	}
	return nil
}

// keyAnswer is the answer to a KEYS.
type keyAnswer struct {
	keys []signature.Key
	head signature.Head
	err  error // a *protocol.Error
}

// newKeyAnswer returns what another site's response says. A site that does not
// know KEYS has no keys.
func newKeyAnswer(a s2sResponse) keyAnswer {
	switch l := a.final; {
	case a.failed.Status != 0:
		return keyAnswer{err: &protocol.Error{Status: a.failed.Status, Text: a.failed.Text}}
	case l == nil:
		return keyAnswer{err: protocol.Errorf(protocol.StatusRemoteTimeout, "no answer came from the user's site")}
	case l.Status == protocol.StatusUnknownVerb:
		return keyAnswer{}
	case l.Status != protocol.StatusOK:
		return keyAnswer{err: protocol.Errorf(protocol.StatusRemoteFailure, "the user's site answered %d", l.Status)}
	default:
		head, err := signature.ParseHead(outbound.TextParam(l, "head"))
		if err != nil {
			return keyAnswer{err: protocol.Errorf(protocol.StatusRemoteFailure, "the user's site answered with a list of keys that has no head")}
		}
		return keyAnswer{keys: a.keys, head: head}
	}
}

// addKey records a key of a 100 line. It returns false for one too many.
func (e *s2sRequest) addKey(l *protocol.Line) bool {
	if e.partial > signature.MaxKeys {
		return false
	}
	if k, ok := outbound.ParseKey(l); ok { // a key left out contradicts the head
		e.keys = append(e.keys, k)
	}
	return true
}

// partialMemory returns the octets that the 100 lines of the response may
// take.
func (e *s2sRequest) partialMemory() int {
	if e.wantsKeys {
		return signature.MaxKeys * keyOctets
	}
	return len(e.addresses) * presenceOctets
}

// mayRepeat reports whether a request that may have been sent on a connection,
// which ended because of why, may be sent on another: it asks only, and nobody
// was told its outcome. What made the other site break the protocol would do so
// again.
func (e *s2sRequest) mayRepeat(why error) bool {
	return e.asksOnly && !e.answered && !errors.Is(why, outbound.ErrProtocol)
}

// memory returns the octets that the request holds: its body, once while it
// waits and once as it is written, and its state.
func (e *s2sRequest) memory() int { return requestOctets + 2*len(e.body) }

const requestOctets = 1 << 10

// addPartial records a 100 line. It returns false for an unexpected one:
// there must be no more lines than addresses, and none twice.
func (e *s2sRequest) addPartial(l *protocol.Line) bool {
	e.partial++
	if e.wantsKeys {
		return e.addKey(l)
	}
	if e.partial > max(1, len(e.addresses)) {
		return false
	}
	if len(e.addresses) == 0 {
		return true // and means nothing
	}
	p, ok := outbound.ParsePresence(l)
	if !ok {
		return true
	}
	i := e.indexOf(p.Address)
	if i < 0 {
		return true // of somebody else, so that nothing is known of whom was asked for
	}
	if e.presences == nil {
		e.presences = make([]protocol.Presence, len(e.addresses))
	}
	if !e.presences[i].Address.IsZero() {
		return false
	}
	p.Address = e.addresses[i]
	e.presences[i] = sanitizePresence(p)
	return true
}

// indexOf returns the index of the requested address that a is: by its name
// or, if the other site spells it differently, by its turn; -1 if it is none
// of them.
func (e *s2sRequest) indexOf(a protocol.Address) int {
	turn, folded := e.partial-1, a.CaseFold()
	if e.addresses[turn].CaseFold() == folded {
		return turn
	}
	for i, of := range e.addresses {
		if of.CaseFold() == folded {
			return i
		}
	}
	if e.addresses[turn].Domain() == a.Domain() {
		return turn
	}
	return -1
}

// presenceAt returns the presence of the i-th requested address, which is of.
func (a *s2sResponse) presenceAt(i int, of protocol.Address) protocol.Presence {
	if a.final == nil || a.final.Status != protocol.StatusOK || i >= len(a.presences) || a.presences[i].Address.IsZero() {
		return unknownPresence(of)
	}
	return a.presences[i]
}

// sanitizePresence removes values without a meaning from another site's
// presence.
func sanitizePresence(p protocol.Presence) protocol.Presence {
	if !p.State.Listening() {
		p.Since, p.Note = time.Time{}, ""
	}
	if !protocol.ValidNote(p.Note) {
		p.Note = ""
	}
	return p
}
