package router

import (
	"simpd/protocol"
	"simpd/store"
)

// Tracer follows messages across nodes, for those who want to see where time
// goes. Its methods may be called from any goroutine, and never block.
type Tracer interface {
	// Sent is told of each message that begins its way here. It returns what
	// Message.Trace is to be, and what is to be called with the outcome; ""
	// and nil: it does not follow this one.
	Sent(m *protocol.Message) (trace string, end func(protocol.Outcome))
	// Received is told of each followed message for a session of this node.
	// It returns what is to be called in place of done, and calls that.
	Received(m *protocol.Message, s store.Session, done func(protocol.Outcome)) func(protocol.Outcome)
}

// trace has the message followed, if somebody wants that.
func (d *delivery) trace() {
	if t := d.s.r.Tracer; t != nil {
		d.m.Trace, d.traced = t.Sent(&d.m)
	}
}
