package server

import "context"

// command is how one verb is answered. Each has a file of its own, and four
// beats: read what is asked, see whether it may be, ask the site, answer.
type command struct {
	run     func(s *session, ctx context.Context, r *request)
	phase   phase
	waits   bool // for the site or for a hash, or takes long: it is done aside
	literal bool // it may have one
	unknown bool // its verb is none: it is refused in its turn
}

// phase is how far the conversation has to be for a command.
type phase uint8

const (
	anyTime phase = iota
	greeted       // after HELLO
	proved        // after AUTH
)

// commandFor returns how r is answered. PING, QUIT and STARTTLS are not among
// them: they are the reader's own.
func (s *session) commandFor(r *request) command {
	switch r.line.Verb {
	case "HELLO":
		return command{run: (*session).hello}
	case "VERIFY":
		return command{run: (*session).verify, phase: greeted}
	case "AUTH":
		return command{run: (*session).auth, phase: greeted, waits: true, literal: true}
	case "MORE":
		return command{run: (*session).more, phase: greeted, waits: true, literal: true}
	case "PASSWD":
		return command{run: (*session).passwd, phase: proved, waits: true}
	case "LISTEN":
		return command{run: (*session).listen, phase: proved, waits: true}
	case "STATE":
		return command{run: (*session).state, phase: proved, waits: true}
	case "UNLISTEN":
		return command{run: (*session).unlisten, phase: proved, waits: true}
	case "SEND":
		return command{run: (*session).send, phase: proved, waits: r.idn > 0, literal: true}
	}
	return s.presenceCommand(r)
}

func (s *session) presenceCommand(r *request) command {
	switch r.line.Verb {
	case "WATCH":
		return command{run: (*session).watch, phase: proved, waits: true}
	case "UNWATCH":
		return command{run: (*session).unwatch, phase: proved, waits: r.isLong() || len(r.line.Params) == 0}
	case "QUERY":
		return command{run: (*session).query, phase: proved, waits: r.isLong() || s.queryWaits(r)}
	case "WATCHERS":
		return command{run: (*session).watchers, phase: proved, waits: true}
	case "ACL":
		return command{run: (*session).acl, phase: proved, waits: true}
	case "CONTACT":
		return command{run: (*session).contact, phase: proved, waits: true}
	}
	return command{unknown: true, phase: greeted}
}
