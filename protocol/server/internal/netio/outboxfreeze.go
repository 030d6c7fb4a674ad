package netio

// Freeze waits until the queue is empty, and prevents writing until Thaw. It
// returns false, and prevents nothing, if the connection closes.
func (o *outbox) Freeze() bool {
	for {
		o.AwaitDrained()
		switch o.tryFreeze() {
		case frozen:
			return true
		case closing:
			return false
		}
	}
}

type freezeResult uint8

const (
	busy freezeResult = iota // something was queued meanwhile
	frozen
	closing
)

func (o *outbox) tryFreeze() freezeResult {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closing:
		return closing
	case o.writing, len(o.queue) > 0:
		return busy
	}
	o.writing = true
	return frozen
}

// replaceTransport continues with another transport, while o is frozen.
func (o *outbox) replaceTransport(w Transport) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.transport = w
}

// Thaw ends Freeze.
func (o *outbox) Thaw() {
	o.mu.Lock()
	o.writing = false
	o.mu.Unlock()
	o.flush()
}
