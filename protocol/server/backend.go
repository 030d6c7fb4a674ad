package server

import (
	"context"
	"time"

	"simpd/protocol"
)

// Backend is the site behind the connections. Its methods may be called from
// any goroutine; none may wait for another node, and only AwaitTurn waits.
//
// Errors that are a *protocol.Error are answered as they stand; a context's
// end is answered 503, and any other error 500.
type Backend interface {
	// Greeting is asked for as a connection begins and at HELLO.
	Greeting() Greeting

	// Credentials returns what an account's password is checked against. For
	// an unknown user it returns ones that nothing fits, the same at each call
	// and on all nodes, and false.
	Credentials(user protocol.Address) (protocol.Credentials, bool)

	// Admit asks the limits of failed logins over the whole site. It returns
	// 0, or how long the source has to wait before it may try again.
	Admit(a protocol.Attempt) (retry time.Duration)
	// IsPaced reports whether the attempt has to wait for its turn, as too
	// many others have failed.
	IsPaced(a protocol.Attempt) bool
	// AwaitTurn waits until the attempt may be looked at, which is at once
	// unless it is paced. It returns 0, or how long to wait before another try.
	AwaitTurn(ctx context.Context, a protocol.Attempt) (retry time.Duration)
	// Failed counts a failed login, and Succeeded notes one that was right.
	Failed(a protocol.Attempt)
	Succeeded(a protocol.Attempt)

	// Login makes an authenticated connection known to the site. It fails
	// when s.Client().Credential is not the account's newest any more.
	Login(ctx context.Context, s protocol.Session) (User, error)
}

// Greeting is what a node says of itself.
type Greeting struct {
	History string // the log that indexes count in
	Refuse  string // not empty: why this node takes no client now (BYE 503)
}

// User is the site as one authenticated connection sees it. The server calls
// the methods with a context one at a time, in the order of the requests;
// they may wait until the context ends (protocol.RequestTimeout after the
// request came). Send, Unwatch, Rules and Contacts never wait, and are called
// from the goroutine that reads the connection or from the one that works for
// it, never from both at a time.
type User interface {
	// Listen returns once the session is found by all who send.
	Listen(ctx context.Context, r protocol.ListenRequest) (session string, index uint64, err error)
	// SetState changes state and note; a nil note stays as it is.
	SetState(ctx context.Context, s protocol.State, note *string) (index uint64, err error)
	// Unlisten hands no message to the session once it is called.
	Unlisten(ctx context.Context) (index uint64, err error)

	// Send delivers r, or tells why not, through r.Done.
	Send(r *protocol.SendRequest)

	// BeginWatch calls write once, unless there is an error, with a presence for
	// each pair asked for, in the order asked, as they are at one moment, index.
	// No notice of a change that is in them comes after it, and none of a later
	// change before it. write never blocks. Where another site has to be asked
	// first, all is watched when BeginWatch returns, and later waits for that site
	// and then calls write; it has to be called, and may be by any goroutine.
	// After an error nothing is watched that was not before. What would make the
	// connection watch more than protocol.MaxWatched is a 413.
	BeginWatch(r protocol.WatchRequest, write func(at []protocol.Notice, index uint64)) (later func(context.Context), err error)
	// Unwatch ends watching; with no addresses, of all (for r.By, if given).
	Unwatch(r protocol.WatchRequest)
	// Query answers as BeginWatch does, without watching. Without r.Fresh it waits
	// for other sites only. Any goroutine may call it, also after Close.
	Query(ctx context.Context, r protocol.WatchRequest) (at []protocol.Notice, index uint64, err error)
	// Watchers returns who watches the user now; partial if a node did not
	// answer, or if there are too many for an answer.
	Watchers(ctx context.Context) (by []protocol.Address, partial bool, err error)

	Rules() []protocol.Rule
	// SetRule sets a rule, or removes it if it says nothing.
	SetRule(ctx context.Context, r protocol.Rule) error
	Contacts() []protocol.Contact
	SetContact(ctx context.Context, c protocol.Contact) error
	RemoveContact(ctx context.Context, a protocol.Address) error

	// SetPassword returns once every node that is up has applied it. It ends
	// the user's other connections, and not this one.
	SetPassword(ctx context.Context, c protocol.Credentials) error

	// Close says that the client has ended the conversation, or is gone:
	// listening and watching end with it, in the background. SENDs that are
	// not done go on. It is called exactly once, last of all.
	Close()
}
