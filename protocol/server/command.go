package server

import "context"

// command describes how a request is handled. Each command has a file of its
// own, and its handler four steps: decode the request, check whether it is
// allowed, call the site, respond.
type command struct {
	handle  func(s *session, ctx context.Context, r *request)
	phase   phase
	blocks  bool // it waits for the site or for a hash, or takes long: it runs on the work queue
	literal bool // a literal is allowed
	unknown bool // the verb is unknown: it is refused in its turn
}

// phase is how far the session must be for a command.
type phase uint8

const (
	phaseAny           phase = iota
	phaseGreeted             // after HELLO
	phaseAuthenticated       // after AUTH
)

// commandFor returns the command of r. PING, QUIT and STARTTLS are handled by
// the reader itself.
func (s *session) commandFor(r *request) command {
	switch r.line.Verb {
	case "HELLO":
		return command{handle: (*session).handleHello}
	case "VERIFY":
		return command{handle: (*session).handleVerify, phase: phaseGreeted}
	case "AUTH":
		return command{handle: (*session).handleAuth, phase: phaseGreeted, blocks: true, literal: true}
	case "MORE":
		return command{handle: (*session).handleMore, phase: phaseGreeted, blocks: true, literal: true}
	case "PASSWD":
		return command{handle: (*session).handlePasswd, phase: phaseAuthenticated, blocks: true}
	case "LISTEN":
		return command{handle: (*session).handleListen, phase: phaseAuthenticated, blocks: true}
	case "STATE":
		return command{handle: (*session).handleState, phase: phaseAuthenticated, blocks: true}
	case "UNLISTEN":
		return command{handle: (*session).handleUnlisten, phase: phaseAuthenticated, blocks: true}
	case "SEND":
		return command{handle: (*session).handleSend, phase: phaseAuthenticated, blocks: r.idn > 0, literal: true}
	}
	return s.presenceCommand(r)
}

func (s *session) presenceCommand(r *request) command {
	switch r.line.Verb {
	case "WATCH":
		return command{handle: (*session).handleWatch, phase: phaseAuthenticated, blocks: true}
	case "UNWATCH":
		return command{handle: (*session).handleUnwatch, phase: phaseAuthenticated, blocks: r.isLong() || len(r.line.Params) == 0}
	case "QUERY":
		return command{handle: (*session).handleQuery, phase: phaseAuthenticated, blocks: r.isLong() || s.queryBlocks(r)}
	case "WATCHERS":
		return command{handle: (*session).handleWatchers, phase: phaseAuthenticated, blocks: true}
	case "ACL":
		return command{handle: (*session).handleACL, phase: phaseAuthenticated, blocks: true}
	case "CONTACT":
		return command{handle: (*session).handleContact, phase: phaseAuthenticated, blocks: true}
	}
	return command{unknown: true, phase: phaseGreeted}
}
