package protocol

import "time"

// SendRequest is a SEND on its way to each of its recipients (SIMP.md,
// section 6). Nothing of it is changed once it is handed on.
type SendRequest struct {
	From       Address   // claimed on a routing connection; else zero: the authenticated user
	Program    string    // the program that sends as From; "": none does
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

// ListenRequest is a LISTEN (SIMP.md, section 5).
type ListenRequest struct {
	State     State // one that listens
	Note      string
	Exclusive bool // displaces the user's other sessions
}

// WatchRequest is a WATCH, an UNWATCH or a QUERY: whom it names, and for whom
// it asks (SIMP.md, sections 7 and 9).
type WatchRequest struct {
	Addresses []Address // canonical, none twice, in the order given
	By        []Address // on a routing connection: the watchers; else nil
	Contacts  bool      // WATCH contacts=yes: those of the user's contact list as well
	Fresh     bool      // QUERY fresh=yes
}
