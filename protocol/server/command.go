package server

import "context"

// command describes how a request is handled. Each command has a file of its
// own, and its handler four steps: decode the request, check whether it is
// allowed, call the site, respond. A handler that returns an error has not
// responded: execute does. PING, QUIT and STARTTLS are answered by the reader.
type command struct {
	verb  string
	phase phase
	flags commandFlags
	// blocks reports whether r waits for the site or for a hash, or takes long,
	// so that it has to run on the work queue. nil: never.
	blocks func(s *session, r *request) bool
	handle func(s *session, ctx context.Context, r *request) error
}

// commandFlags are properties of a command.
type commandFlags uint8

const (
	takesLiteral commandFlags = 1 << iota
	forRouting                // routing connections may use it too
	immediate                 // the reader handles it whatever is in flight, and it does not count as in flight
	readerOnly                // the reader handles it, in handleStartTLS
	ownLimit                  // it does not count for Limits.Commands
)

// commands is the table of all commands. What is used most stands first.
var commands []command

func init() { // their handlers lead to commandFor, which reads the table
	commands = []command{
		{"SEND", phaseAuthenticated, takesLiteral | forRouting | ownLimit, hasIDN, (*session).handleSend},
		{"PING", phaseConnected, immediate, nil, (*session).handlePing},
		{"HELLO", phaseConnected, forRouting, nil, (*session).handleHello},
		{"AUTH", phaseGreeted, takesLiteral | forRouting, blocksAuth, (*session).handleAuth},
		{"MORE", phaseGreeted, takesLiteral | forRouting, blocksAuth, (*session).handleMore},
		{"LISTEN", phaseAuthenticated, 0, always, (*session).handleListen},
		{"STATE", phaseAuthenticated, 0, always, (*session).handleState},
		{"UNLISTEN", phaseAuthenticated, 0, always, (*session).handleUnlisten},
		{"WATCH", phaseAuthenticated, forRouting, always, (*session).handleWatch},
		{"UNWATCH", phaseAuthenticated, forRouting, blocksUnwatch, (*session).handleUnwatch},
		{"QUERY", phaseAuthenticated, forRouting, blocksQuery, (*session).handleQuery},
		{"WATCHERS", phaseAuthenticated, 0, always, (*session).handleWatchers},
		{"ACL", phaseAuthenticated, 0, always, (*session).handleACL},
		{"CONTACT", phaseAuthenticated, 0, always, (*session).handleContact},
		{"PASSWD", phaseAuthenticated, 0, always, (*session).handlePasswd},
		{"APP", phaseAuthenticated, 0, always, (*session).handleApp},
		{"JOIN", phaseGreeted, 0, always, (*session).handleJoin},
		{"KEY", phaseAuthenticated, 0, always, (*session).handleKey},
		{"KEYS", phaseAuthenticated, forRouting, always, (*session).handleKeys},
		{"REPORT", phaseAuthenticated, takesLiteral | forRouting, always, (*session).handleReport},
		{"VERIFY", phaseGreeted, forRouting, nil, (*session).handleVerify},
		{"STARTTLS", phaseConnected, readerOnly, nil, nil},
		{"QUIT", phaseConnected, immediate, nil, (*session).handleQuit},
	}
}

// unknownCommand stands for every verb that is not in the table. It is refused
// in its turn.
var unknownCommand = command{phase: phaseGreeted}

// commandFor returns the command of r.
func commandFor(r *request) *command {
	for i := range commands {
		if commands[i].verb == r.line.Verb {
			return &commands[i]
		}
	}
	return &unknownCommand
}

func (c *command) has(f commandFlags) bool { return c.flags&f != 0 }

// blocking reports whether r has to run on the work queue.
func (c *command) blocking(s *session, r *request) bool { return c.blocks != nil && c.blocks(s, r) }

func always(*session, *request) bool { return true }

// hasIDN reports whether an address of r needs IDNA, which takes long.
func hasIDN(_ *session, r *request) bool { return r.idn > 0 }

func blocksAuth(s *session, r *request) bool { return !s.isNonBlockingAuth(r) }

// blocksUnwatch reports whether r ends many watches.
func blocksUnwatch(_ *session, r *request) bool { return r.isLong() || len(r.line.Params) == 0 }

func blocksQuery(s *session, r *request) bool { return r.isLong() || s.queryBlocks(r) }
