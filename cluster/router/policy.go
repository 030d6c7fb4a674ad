package router

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"simpd/cluster/policy"
	"simpd/cluster/ratelimit"
	"simpd/protocol"
	"simpd/protocol/netaddr"
	"simpd/protocol/signature"
	"simpd/store"
)

// needsVerdict reports whether the policy program has to be asked before the
// message is routed. It is called once for each message.
func (d *delivery) needsVerdict() bool {
	s := d.sender
	if s.r.config.Policy == nil {
		return false
	}
	if s.r.config.Policy.AsksAll() {
		return true
	}
	if !s.isRemote && s.hasPassed(d.queue) {
		return false
	}
	if !s.r.established.isKnown(s.contactGroup(d.m.From), s.contactPair(d)) {
		return true
	}
	s.markPassed(d.queue)
	return false
}

// contactGroup returns the group that remembers the contacts of from.
func (s *sender) contactGroup(from protocol.Address) contactGroup {
	if s.isRemote {
		return contactGroup{domain: netaddr.Registrable(from.CaseFold().Domain())}
	}
	return contactGroup{part: 1 + uint16(maphash.Comparable(s.r.firstContacts.seed, from)%localGroups)}
}

func (s *sender) contactPair(d *delivery) pair {
	if s.isRemote {
		return pair{d.m.From.CaseFold(), d.m.To}
	}
	return pair{d.m.From, d.m.To}
}

// hasPassed reports whether the connection's messages of this queue have been
// let pass before.
func (s *sender) hasPassed(q *recipientQueue) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return q.hasPassed
}

// markPassed records that the connection's messages of this queue need no
// question. On a routing connection they have many senders.
func (s *sender) markPassed(q *recipientQueue) {
	if !s.isRemote {
		s.mu.Lock()
		defer s.mu.Unlock()
		q.hasPassed = true
	}
}

// establish records that the program has let the message pass, if it has, and
// that a client of the recipient was there. As long as none was, each message
// is asked about, like those of a sender whom the program hides the recipient
// from: the time tells nobody which of the two it is.
func (d *delivery) establish() {
	s := d.sender
	if !d.isPassed.CompareAndSwap(true, false) {
		return
	}
	s.r.established.remember(s.contactGroup(d.m.From), s.contactPair(d))
	s.markPassed(d.queue)
}

// awaitVerdicts asks the policy program about the messages that need it, and
// returns those that go on to a look-up with a read barrier: those that waited
// for one, and those whose recipient does not listen, or is said not to. All
// others are on their way, or have their outcome. A program that is asked about
// every message is asked about all at once; the messages go on in their order.
func (s *sender) awaitVerdicts(batch []*delivery) (lookups []*delivery) {
	if s.r.config.Policy == nil {
		return batch
	}
	answers := make([]policy.Answer, len(batch))
	if s.r.config.Policy.AsksAll() {
		var asked sync.WaitGroup
		for i, d := range batch {
			asked.Go(func() { answers[i] = d.judge() })
		}
		asked.Wait()
	}
	for i, d := range batch {
		if !s.r.config.Policy.AsksAll() {
			answers[i] = d.judge()
		}
		if d.proceed(answers[i], len(lookups) > 0) {
			lookups = append(lookups, d)
		}
	}
	return lookups
}

// judge asks the policy program about a message, unless that is not needed (no
// longer). It is asked about senders whom a block or a rule refuses, too, so that
// neither the outcome nor the time tells them that. The answer without a verdict
// is that of a message that waits for a look-up.
func (d *delivery) judge() policy.Answer {
	if !d.isUnjudged {
		return policy.Answer{}
	}
	d.isUnjudged = false
	if !d.needsVerdict() {
		return policy.Answer{Verdict: policy.Pass}
	}
	s, r := d.sender, d.sender.r
	group, p := s.contactGroup(d.m.From), s.contactPair(d)
	isFirst := !r.established.isKnown(group, p) && !r.hasContact(d.m.To, d.m.From)
	if !isFirst && !r.config.Policy.AsksAll() {
		r.established.remember(group, p)
		s.markPassed(d.queue)
		return policy.Answer{Verdict: policy.Pass}
	}
	ctx, cancel := context.WithDeadline(r.ctx, d.m.Deadline)
	defer cancel()
	a := r.config.Policy.Decide(ctx, d.question(isFirst))
	d.isPassed.Store(a.Verdict == policy.Pass && !a.Assumed)
	return a
}

// question describes the message for the policy program.
func (d *delivery) question(isFirst bool) *policy.Question {
	r, s := d.sender.r, d.sender
	q := &policy.Question{
		From: d.m.From, To: d.m.To, Sender: s.contactPair(d).by, Party: s.party(d.m.From),
		FirstContact: isFirst, Signature: d.signatureState(), Counts: s.counts(d.m.From),
	}
	if r.config.Policy.WantsEntity() {
		q.Entity = d.m.Entity
	}
	return q
}

// party returns whose questions to the policy program are counted together.
func (s *sender) party(from protocol.Address) string {
	switch {
	case s.isRemote:
		return "@" + netaddr.Registrable(from.CaseFold().Domain())
	case s.program != "":
		return "program " + s.program
	}
	return from.String()
}

// signatureState checks the message's signature with the sender's keys, if
// they are in this site's table.
func (d *delivery) signatureState() policy.SignatureState {
	r := d.sender.r
	if !signature.HasSignature(d.m.Entity) {
		return policy.Unsigned
	}
	m := signature.Message{From: d.m.From.String(), Recipient: d.m.To.String(), ID: d.m.ID, Time: d.m.Time, Entity: d.m.Entity}
	if signature.Check(m) != nil {
		return policy.Bad
	}
	if !r.Local(d.m.From) {
		return policy.Unchecked
	}
	keys, head := r.keysOf(d.m.From)
	list, err := signature.NewKeyList(d.m.From.String(), keys, head)
	if err != nil {
		return policy.Unchecked
	}
	if state := signature.Classify(m, list, signature.Knowledge{}).State; state == signature.Signed || state == signature.NewKey {
		return policy.Signed
	}
	return policy.Bad
}

// counts returns how much of the site's limits the sender has used up.
func (s *sender) counts(from protocol.Address) (c policy.Counts) {
	m := s.meters.Load()
	if m == nil {
		return c
	}
	if !s.isRemote {
		return policy.Counts{
			Messages: m.messages.Used(), FirstContacts: m.contacts.Used(),
			OriginMessages: m.messagesHere.Used(), OriginFirstContacts: m.newOne.Used(),
		}
	}
	var messages, contacts ratelimit.Meter
	key := ratelimit.KeyOf(from.CaseFold().String())
	messages.Set(s.r.limits, ratelimit.MessagesByUser, key)
	contacts.Set(s.r.limits, ratelimit.FirstContactsByStranger, key)
	return policy.Counts{
		Messages: messages.Used(), FirstContacts: contacts.Used(),
		OriginMessages: m.messages.Used(), OriginFirstContacts: m.contacts.Used(),
	}
}

// proceed does what the policy program's answer says, and reports whether the
// message goes on to a look-up with a read barrier. A local message does if an
// earlier one does (isBehind), so that they keep their order.
func (d *delivery) proceed(a policy.Answer, isBehind bool) (lookup bool) {
	r := d.sender.r
	isLocal := r.Local(d.m.To)
	switch {
	case a.Verdict == 0:
		return true // it waited for the look-up of an earlier message, or for its own
	case !time.Now().Before(d.m.Deadline):
		d.refuse(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "its time was over before it could be handed over"})
	case a.Verdict == policy.Pass && !isLocal:
		if d.endWaiting() {
			d.sendRemote()
		}
	case a.Verdict == policy.Pass:
		return isBehind || !d.sendToListed()
	case a.Verdict == policy.NotListening && isLocal:
		d.isHidden = true // the look-up tells the sender what it would of a deaf recipient
		return true
	case a.Verdict == policy.NotListening:
		if d.endWaiting() {
			d.sendHidden()
		}
	case a.Verdict == policy.SlowDown:
		wait := a.Retry
		if wait == 0 {
			wait = time.Minute
		}
		d.refuse(slowDown("too many messages in a short time", wait))
	case a.Verdict == policy.Refused:
		d.refuse(protocol.Outcome{Status: protocol.StatusRefused})
	default:
		d.refuse(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "the message could not be checked now; try again"})
	}
	return false
}

// endWaiting ends the wait for a verdict, and reports whether the message may
// still be handed over.
func (d *delivery) endWaiting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookupPending = false
	return !d.ended
}

// sendToListed hands the message to the sessions that the table names, as
// route does. It returns false if there are none.
func (d *delivery) sendToListed() bool {
	var buf [2]store.Session
	found := d.lookup(buf[:0])
	if len(found.routes) == 0 || !found.allowed {
		return false
	}
	if d.endWaiting() {
		d.sendToSessions(found.routes)
	}
	return true
}

// refuse ends a delivery of which nothing was handed over.
func (d *delivery) refuse(o protocol.Outcome) {
	d.mu.Lock()
	d.lookupPending = false
	if d.ended {
		d.mu.Unlock()
		return
	}
	d.finish(o)
}

// sendHidden tells the sender what another site would of a recipient who does
// not listen there.
func (d *delivery) sendHidden() {
	d.isHidden = true
	d.sendRemote()
}
