package federation

import (
	"time"

	"simpd/protocol/wait"
)

// armTimer sets the timer to the next time at which something is due. The
// caller holds p.mu.
func (p *remoteDomain) armTimer(now time.Time) {
	if p.closed {
		return
	}
	at := wait.Earlier(p.lastUsed.Add(maxIdle), p.nextDeadline)
	switch {
	case p.conn != nil:
		at = wait.Earlier(at, p.retryWatchesAt)
	case p.needsConn() && !p.connecting:
		at = wait.Earlier(at, p.retryAt)
	}
	for _, rt := range []*s2sConn{p.conn, p.oldConn} {
		if rt != nil {
			at = wait.Earlier(at, rt.nextTimeout)
		}
	}
	if !p.timerAt.IsZero() && !at.Before(p.timerAt) {
		return // it rings before that, and is set anew
	}
	p.timerAt = at
	if p.timer == nil {
		p.timer = time.AfterFunc(at.Sub(now), p.onTimer)
		return
	}
	p.timer.Reset(at.Sub(now))
}

// onTimer handles what is due.
func (p *remoteDomain) onTimer() {
	p.mu.Lock()
	defer p.unlockAndCall()
	if p.closed {
		return
	}
	p.timerAt = time.Time{}
	now := time.Now()
	for _, rt := range []*s2sConn{p.conn, p.oldConn} {
		if rt != nil {
			rt.expireInflight(now)
		}
	}
	if !p.isBusy() && now.Sub(p.lastUsed) >= maxIdle {
		p.expireIdle()
		return
	}
	p.advance()
}

// expireIdle removes a remote domain that has not been used for a long time.
func (p *remoteDomain) expireIdle() {
	p.closed = true
	if p.conn != nil {
		p.conn.quitLocked()
	}
	p.relay.remove(p)
}
