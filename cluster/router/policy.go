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

// established remembers which pairs the policy program has let pass, so that
// only first contacts are asked about.
type established struct {
	passed   knownContacts
	imitated knownContacts // those that were not asked about, because they are refused
}

func (e *established) init() {
	e.passed.init()
	e.imitated.init()
}

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
	if !s.r.established.passed.isKnown(s.contactGroup(d.m.From), s.contactPair(d)) {
		return true
	}
	s.notePassed(d.queue)
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

func (s *sender) notePassed(q *recipientQueue) {
	if !s.isRemote {
		s.mu.Lock()
		defer s.mu.Unlock()
		q.hasPassed = true
	}
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
		if d.proceed(answers[i]) {
			lookups = append(lookups, d)
		}
	}
	return lookups
}

// judge asks the policy program about a message, unless that is not needed (no
// longer, or as the recipient's rules refuse it: then it takes as long). The
// answer without a verdict is that of a message that waits for a look-up.
func (d *delivery) judge() policy.Answer {
	if !d.isUnjudged {
		return policy.Answer{}
	}
	d.isUnjudged = false
	if !d.needsVerdict() {
		return policy.Answer{Verdict: policy.Pass}
	}
	s, r := d.sender, d.sender.r
	ctx, cancel := context.WithDeadline(r.ctx, d.m.Deadline)
	defer cancel()
	group, p := s.contactGroup(d.m.From), s.contactPair(d)
	if isLocal := r.Local(d.m.To); isLocal && !s.maySend(d.m.To, d.m.From) || !isLocal && s.blocks(d.m.From) {
		if r.config.Policy.AsksAll() || !r.established.imitated.isKnown(group, p) {
			r.config.Policy.Imitate(ctx, d.m.From, d.m.To)
			r.established.imitated.remember(group, p)
		}
		return policy.Answer{Verdict: policy.NotListening}
	}
	q := d.question()
	if !q.FirstContact && !r.config.Policy.AsksAll() {
		s.notePassed(d.queue)
		return policy.Answer{Verdict: policy.Pass}
	}
	a := r.config.Policy.Decide(ctx, q)
	if a.Verdict == policy.Pass {
		r.established.passed.remember(group, p)
		s.notePassed(d.queue)
	}
	return a
}

// question describes the message for the policy program.
func (d *delivery) question() *policy.Question {
	r := d.sender.r
	q := &policy.Question{
		From: d.m.From, To: d.m.To, Signature: d.signatureState(), Counts: d.sender.counts(d.m.From),
		FirstContact: !r.established.passed.isKnown(d.sender.contactGroup(d.m.From), d.sender.contactPair(d)) && !r.hasContact(d.m.To, d.m.From),
	}
	if r.config.Policy.WantsEntity() {
		q.Entity = d.m.Entity
	}
	return q
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
// message goes on to a look-up with a read barrier.
func (d *delivery) proceed(a policy.Answer) (lookup bool) {
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
		return !d.sendToListed()
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
