package router

import (
	"simpd/protocol"
	"simpd/store"
)

// Tracer follows messages across nodes to show where time goes. Any goroutine
// may call its methods, which never block.
type Tracer interface {
	// Sent is called for each message that enters here. It returns the value for
	// Message.Trace and a function to call with the outcome, or "" and nil if it
	// does not follow the message.
	Sent(m *protocol.Message) (trace string, end func(protocol.Outcome))
	// Received is called for each followed message to a session of this node. It
	// returns a function to call instead of done, which calls done.
	Received(m *protocol.Message, s store.Session, done func(protocol.Outcome)) func(protocol.Outcome)
}

// startTrace asks the Tracer, if there is one, whether to follow the message.
func (d *delivery) startTrace() {
	if t := d.sender.r.config.Tracer; t != nil {
		d.m.Trace, d.onEnd = t.Sent(&d.m)
	}
}
