package protocol

import "time"

// SendRequest is a SEND on its way to each of its recipients (SIMP.md,
// section 6). Nothing of it is changed once it is handed on.
type SendRequest struct {
	From       Address   // claimed on a routing connection; else zero: the authenticated user
	To         []Address // canonical, none twice, in the order given
	ID         string
	Repeatable bool      // the sender chose ID
	Received   time.Time // when its last octet came; with a monotonic reading
	Timeout    time.Duration
	Entity     []byte

	// Done tells what became of it for To[i]. It is called exactly once for
	// each recipient, from any goroutine, perhaps before Send returns, and
	// never blocks.
	Done func(i int, o Outcome)
}

// Deadline is the moment after which nothing of r may be handed over.
func (r *SendRequest) Deadline() time.Time { return r.Received.Add(r.Timeout) }
