package client

import "time"

// arm sets the alarm to when something has to be looked at. p.mu is held.
func (p *partner) arm(now time.Time) {
	if p.gone {
		return
	}
	at := earlier(p.used.Add(keptIdle), p.soonest)
	switch {
	case p.route != nil:
		at = earlier(at, p.again)
	case p.wanted() && !p.connecting:
		at = earlier(at, p.retry)
	}
	for _, rt := range []*route{p.route, p.old} {
		if rt != nil {
			at = earlier(at, rt.soonest)
		}
	}
	if !p.due.IsZero() && !at.Before(p.due) {
		return // it rings before that, and is set anew
	}
	p.due = at
	if p.alarm == nil {
		p.alarm = time.AfterFunc(at.Sub(now), p.ring)
		return
	}
	p.alarm.Reset(at.Sub(now))
}

// earlier returns the earlier of two times, of which b may be zero: none.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// ring looks at what is due.
func (p *partner) ring() {
	p.mu.Lock()
	defer p.unlock()
	if p.gone {
		return
	}
	p.due = time.Time{}
	now := time.Now()
	for _, rt := range []*route{p.route, p.old} {
		if rt != nil {
			rt.overdue(now)
		}
	}
	if !p.busy() && now.Sub(p.used) >= keptIdle {
		p.leave()
		return
	}
	p.proceed()
}

// leave forgets a partner that was not used for long.
func (p *partner) leave() {
	p.gone = true
	if p.route != nil {
		p.route.quit()
	}
	p.relay.drop(p)
}
