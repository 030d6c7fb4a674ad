package client

import (
	"errors"
	"time"

	"simpd/protocol"
)

// pair is a right to know: by watches of.
type pair struct{ by, of protocol.Address }

// upstream is one pair that is watched at the other site, once for all who
// want to know here. Its key has the other site's address without case.
// The partner's lock guards it.
type upstream struct {
	pair                                                 // as it is asked for
	tell    map[protocol.Address]func(protocol.Presence) // by the address as it is wanted
	via     *route                                       // whose word counts; nil: nothing is known
	asked   *route                                       // on which WATCH is under way
	now     protocol.Presence                            // what was last said there
	history string                                       // that its index counts in
	dark    bool                                         // nothing is known, as was told

	share    share     // what is held for it, of by
	refusals int       // in a row
	again    time.Time // it was refused, and is asked for then; zero: it was not
}

// telling is one call of tell.
type telling struct {
	by   protocol.Address
	tell func(protocol.Presence)
	protocol.Presence
}

// manyTellings is how many may wait before newer ones take the place of older.
const manyTellings = 1024

// watchTime is how long a WATCH may wait for its turn.
const watchTime = 10 * time.Second

func keyOfPair(by, of protocol.Address) pair { return pair{by, of.FoldCase()} }

// errGone says that a partner was forgotten, errNoShare that a user watches
// more than their share.
var (
	errGone    = errors.New("the partner was forgotten")
	errNoShare = errors.New("too much is watched for this user")
)

// watch begins to watch. The error is errGone or errNoShare.
func (p *partner) watch(by, of protocol.Address, tell func(protocol.Presence)) error {
	p.mu.Lock()
	defer p.unlock()
	if p.gone {
		return errGone
	}
	key := keyOfPair(by, of)
	u := p.upstreams[key]
	if u == nil {
		u = &upstream{pair: pair{by, of}, tell: make(map[protocol.Address]func(protocol.Presence)), now: unknown(of), share: share{user: by}}
		if !u.share.add(p.watches.owners, place) || !u.share.add(p.relay.senders, upstreamCost) {
			return errNoShare
		}
		p.upstreams[key] = u
	}
	u.tell[of] = tell
	switch {
	case u.via != nil:
		p.sayOf(u, of, u.now)
	case p.resting(), !u.again.IsZero():
		p.sayOf(u, of, unknown(of))
	case p.route != nil && u.asked == nil:
		p.ask(p.route, u.by, []*upstream{u})
	}
	p.proceed()
	return nil
}

// upstreamCost is what an upstream holds in octets, with what waits to be told
// of it.
const upstreamCost = 2 << 10

// unwatch ends watch.
func (p *partner) unwatch(by, of protocol.Address) {
	p.mu.Lock()
	defer p.unlock()
	key := keyOfPair(by, of)
	u := p.upstreams[key]
	if u == nil {
		return
	}
	if delete(u.tell, of); len(u.tell) > 0 {
		return
	}
	delete(p.upstreams, key)
	u.share.release()
	if p.route != nil && (u.via == p.route || u.asked == p.route) {
		p.put(unwatchErrand(u.pair))
	}
	p.proceed()
}

func unwatchErrand(w pair) *errand {
	return &errand{
		verb: "UNWATCH", watch: true, until: time.Now().Add(watchTime),
		params: func(b []byte, _ time.Duration) []byte {
			return protocol.AppendParam(appendAddresses([]protocol.Address{w.of})(b), "by", w.by.String())
		},
	}
}

// watchAgain asks on a new connection for all that is wanted. p.mu is held.
func (p *partner) watchAgain() {
	byWatcher := make(map[protocol.Address][]*upstream)
	for _, u := range p.upstreams {
		byWatcher[u.by] = append(byWatcher[u.by], u)
	}
	p.askAll(byWatcher)
	p.leaveOld()
}

// askAll asks for what each watcher wants to know. p.mu is held.
func (p *partner) askAll(byWatcher map[protocol.Address][]*upstream) {
	for by, all := range byWatcher {
		for _, some := range fitting(all) {
			p.ask(p.route, by, some)
		}
	}
}

// fitting cuts a list into pieces that fit a line.
func fitting(all []*upstream) (pieces [][]*upstream) {
	const room = protocol.MaxLine - 512
	used, start := 0, 0
	for i, u := range all {
		need := len(protocol.AppendParam(nil, "ima", u.of.String()))
		if used+need > room {
			pieces = append(pieces, all[start:i])
			used, start = 0, i
		}
		used += need
	}
	return append(pieces, all[start:])
}

// ask has one user's upstreams watched. p.mu is held.
func (p *partner) ask(rt *route, by protocol.Address, all []*upstream) {
	var of []protocol.Address
	for _, u := range all {
		u.asked, u.again = rt, time.Time{}
		of = append(of, u.of)
	}
	p.put(&errand{
		verb: "WATCH", watch: true, until: time.Now().Add(watchTime), asked: of,
		params: func(b []byte, _ time.Duration) []byte {
			return protocol.AppendParam(appendAddresses(of)(b), "by", by.String())
		},
		apply: func(a answer) { p.watched(rt, all, a) },
		done:  func(answer) {},
	})
}

// watched takes the answer to a WATCH. p.mu is held.
func (p *partner) watched(rt *route, all []*upstream, a answer) {
	ok := a.final != nil && a.final.Status == protocol.StatusOK
	var refused []*upstream
	for i, u := range all {
		if p.upstreams[keyOfPair(u.by, u.of)] != u || u.asked != rt {
			continue
		}
		u.asked = nil
		if !ok {
			refused = append(refused, u)
			continue
		}
		p.seen(u, rt, a.presence(i, u.of))
	}
	if len(refused) > 0 {
		p.refused(rt, refused, a.final)
	}
	p.leaveOld()
}

// seen takes what the answer to a WATCH shows: from now on rt's word counts.
func (p *partner) seen(u *upstream, rt *route, now protocol.Presence) {
	if now.State.Listening() && u.history == rt.hello.history && now.Index < u.now.Index {
		now = u.now // that node lags behind the one before
	}
	u.via, u.history, u.refusals = rt, rt.hello.history, 0
	p.learn(u, now)
}

// leaveOld ends the connection that a MOVE was said on, once all is watched
// on the new one. p.mu is held.
func (p *partner) leaveOld() {
	if p.old == nil || len(p.old.open) > 0 {
		return
	}
	for _, u := range p.upstreams {
		if u.via == p.old {
			return
		}
	}
	p.old.quit()
}

// presence takes a change from the other site: only what was asked for on
// this connection counts, and only of that site's users.
func (rt *route) presence(l *protocol.Line) {
	now, ok := presenceOf(l)
	p := rt.p
	p.mu.Lock()
	defer p.unlock()
	strange := true
	for _, param := range l.Params {
		by, err := protocol.ParseAddress(param.Value)
		if param.Key != "by" || !ok || err != nil {
			continue
		}
		if u := p.upstreams[keyOfPair(by, now.Address)]; u != nil && u.via == rt {
			strange = false
			p.change(u, now)
		}
	}
	rt.count(strange)
}

// change takes what is newer than what is known. p.mu is held.
func (p *partner) change(u *upstream, now protocol.Presence) {
	if now.Index != 0 && now.Index < u.now.Index {
		return
	}
	now.Address = u.of
	p.learn(u, sensible(now))
}

// learn keeps and tells what is known now.
func (p *partner) learn(u *upstream, now protocol.Presence) {
	u.now, u.dark = now, now.State == protocol.Unknown
	for of := range u.tell {
		p.sayOf(u, of, now)
	}
}

// blind tells that nothing is known, without forgetting what was. p.mu is held.
func (p *partner) blind(u *upstream) {
	if u.dark {
		return
	}
	u.dark = true
	for of := range u.tell {
		p.sayOf(u, of, unknown(of))
	}
}

// doubt brackets the time in which the other site does not know itself.
func (rt *route) doubt(stale bool) {
	p := rt.p
	p.mu.Lock()
	defer p.unlock()
	for _, u := range p.upstreams {
		switch {
		case u.via != rt:
		case stale:
			p.blind(u)
		default:
			p.learn(u, u.now)
		}
	}
}

func (p *partner) sayOf(u *upstream, of protocol.Address, now protocol.Presence) {
	now.Address = of
	p.say(telling{u.by, u.tell[of], now})
}

// say has tell called, in order, by a goroutine that lives while there is
// something to tell. p.mu is held.
func (p *partner) say(t telling) {
	p.tellings = append(p.tellings, t)
	if len(p.tellings) > manyTellings+2*p.merged {
		p.merge()
	}
	if !p.telling {
		p.telling = true
		p.relay.wg.Go(p.tellAll)
	}
}

// merge leaves of what waits only the newest for each pair.
func (p *partner) merge() {
	newest := make(map[pair]int, len(p.tellings))
	for i, t := range p.tellings {
		newest[pair{t.by, t.Address}] = i
	}
	kept := make([]telling, 0, len(newest))
	for i, t := range p.tellings {
		if newest[pair{t.by, t.Address}] == i {
			kept = append(kept, t)
		}
	}
	p.tellings, p.merged = kept, len(kept)
}

func (p *partner) tellAll() {
	p.mu.Lock()
	defer p.unlock()
	for len(p.tellings) > 0 {
		t := p.tellings[0]
		p.tellings = p.tellings[1:]
		p.mu.Unlock()
		t.tell(t.Presence)
		p.mu.Lock()
	}
	p.tellings, p.merged, p.telling = nil, 0, false
}
