package server

import (
	"context"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// Backend is the site behind the connections. Any goroutine may call its
// methods. Only AwaitTurn, AskSources, AskToken, AcceptCertificate,
// CheckInvitation and Join block.
//
// An error that is a *protocol.Error is sent as it is. The end of a context
// becomes 503, and any other error 500.
type Backend interface {
	// Greeting is called when a connection begins and at HELLO.
	Greeting() Greeting

	// Credentials returns what an account's password is checked against. For an
	// unknown user it returns credentials that no password matches, the same at
	// each call and on all nodes, and false.
	Credentials(user protocol.Address) (protocol.Credentials, bool)

	// Admit checks the limits on failed logins over the whole site. It returns
	// 0, or how long the source must wait before its next attempt.
	Admit(a protocol.Attempt) (retry time.Duration)
	// IsPaced reports whether the attempt must wait for its turn because too
	// many others have failed.
	IsPaced(a protocol.Attempt) bool
	// AwaitTurn blocks until the attempt may proceed, which is at once unless it
	// is paced. It returns 0, or how long to wait before the next attempt.
	AwaitTurn(ctx context.Context, a protocol.Attempt) (retry time.Duration)
	// Failed counts a failed login.
	Failed(a protocol.Attempt)
	// Succeeded records a successful login.
	Succeeded(a protocol.Attempt)

	// LoginMethods returns how users of a domain of the site can log in; for "",
	// what holds for all its domains.
	LoginMethods(domain string) protocol.LoginMethods
	// AskSources asks the account sources of the user's domain, where
	// Credentials said so. It blocks for protocol.SourceTimeout at most. An error
	// of status 401 means that the password is wrong or the user unknown, and
	// takes the same time for both. One of status 503 means that a source could
	// not be asked: nothing is known of the password.
	AskSources(ctx context.Context, l protocol.PasswordLogin) (protocol.VerifiedLogin, error)
	// AskToken asks the account sources whose OAuth token it is. Errors are as for
	// AskSources.
	AskToken(ctx context.Context, l protocol.TokenLogin) (protocol.VerifiedLogin, error)
	// CheckInvitation returns nil if the code of an invitation may create an
	// account of that address. Every code that may create none is refused with
	// the same 401.
	CheckInvitation(ctx context.Context, code string, user protocol.Address) error
	// Join creates the account, with the password that c verifies, and counts
	// the use of the invitation. It returns when every node that is up has
	// applied it.
	Join(ctx context.Context, code string, user protocol.Address, c protocol.Credentials) error

	// AcceptCertificate returns the login of a user whom a certificate of
	// Config.UserRoots has proved, and makes the account if there is none, for
	// which it may block. An error of status 401 means that the account is
	// disabled.
	AcceptCertificate(ctx context.Context, user protocol.Address) (protocol.VerifiedLogin, error)

	// Login registers an authenticated connection with the site. It fails if
	// s.Client().Credential is no longer the account's newest.
	Login(ctx context.Context, s protocol.Session) (User, error)
}

// Greeting is what a node tells new connections.
type Greeting struct {
	History string // name of the history that indexes count in
	Refuse  string // if not empty: why this node accepts no clients (BYE 503)
}

// User is the site as seen by one authenticated connection. The server calls
// the methods with a context one at a time, in the order of the requests.
// They may block until the context ends (protocol.RequestTimeout after the
// request arrived). Send, Unwatch, Rules and Contacts never block. They are
// called by the goroutine that reads the connection or by the one that works
// for it, never by both at a time.
type User interface {
	// Listen returns when all senders can find the session.
	Listen(ctx context.Context, r protocol.ListenRequest) (session string, index uint64, err error)
	// SetState changes state and note; a nil note keeps the present one.
	SetState(ctx context.Context, s protocol.State, note *string) (index uint64, err error)
	// Unlisten ends listening. No message reaches the session from the moment of
	// the call.
	Unlisten(ctx context.Context) (index uint64, err error)

	// Send delivers r and reports the outcomes through r.Done.
	Send(r *protocol.SendRequest)
	// TakeMessages counts n messages of from, who is set on a routing connection,
	// towards the limits of the site, and returns 0. Above a limit it counts none
	// and returns how long to wait. It never blocks.
	TakeMessages(from protocol.Address, n int) time.Duration
	// TakeWatches counts n addresses that WATCH, QUERY or KEYS ask about, likewise,
	// for all of by together. by is set on a routing connection.
	// Any goroutine may call it, and SpendWatches, even after Close.
	TakeWatches(by []protocol.Address, n int) time.Duration
	// SpendWatches counts n addresses whatever the limits.
	SpendWatches(by []protocol.Address, n int)

	// BeginWatch calls write once, unless it returns an error, with the presence
	// of each requested pair, in the order requested, at one moment, index. No
	// notice of a change that these already reflect is sent afterwards, and no
	// notice of a later change before. write never blocks. If another site has
	// to be asked first, the watches have started when BeginWatch returns; later
	// waits for that site and then calls write. later must be called, by any
	// goroutine. After an error nothing is watched that was not before. A
	// request that would make the connection watch more than protocol.MaxWatched
	// users gets 413.
	BeginWatch(r protocol.WatchRequest, write func(at []protocol.Notice, index uint64)) (later func(context.Context), err error)
	// Unwatch ends watches; without addresses, all (of r.By, if given).
	Unwatch(r protocol.WatchRequest)
	// Query answers like BeginWatch, without watching. Without r.Fresh it waits
	// only for other sites. Any goroutine may call it, even after Close.
	Query(ctx context.Context, r protocol.WatchRequest) (at []protocol.Notice, index uint64, err error)
	// Watchers returns who watches the user. partial reports that a node did not
	// answer, or that there are too many for one response.
	Watchers(ctx context.Context) (by []protocol.Address, partial bool, err error)

	Rules() []protocol.Rule
	// SetRule sets a rule, or removes it if it is empty.
	SetRule(ctx context.Context, r protocol.Rule) error
	// Contacts returns the contacts that the user has added, and those of the
	// user's groups, in the order of the addresses, at most protocol.MaxContacts.
	// partial reports that there are more.
	Contacts() (all []protocol.Contact, partial bool)
	SetContact(ctx context.Context, c protocol.Contact) error
	// RemoveContact removes a contact that the user has added. The error has
	// status 403 if it is there only through a group.
	RemoveContact(ctx context.Context, a protocol.Address) error

	// SetPassword returns when every node that is up has applied it. It closes
	// the user's other connections, except those of app passwords. The error
	// wraps protocol.ErrOtherSalt if c has not the salt of the app passwords.
	SetPassword(ctx context.Context, c protocol.Credentials) error
	// AppPasswords returns the user's app passwords in the order of their IDs.
	AppPasswords() []protocol.AppPassword
	// AddAppPassword adds an app password, of which p has the name and the end,
	// and returns its ID. The error wraps protocol.ErrOtherSalt if c has not the
	// salt of the account's own password.
	AddAppPassword(ctx context.Context, p protocol.AppPassword, c protocol.Credentials) (id uint64, err error)
	// RemoveAppPassword returns when every node that is up has applied it. It
	// closes the connections that use the app password.
	RemoveAppPassword(ctx context.Context, id uint64) error

	// Keys returns the public keys of the user's devices, in the order in which
	// they were added, and the head of the list.
	Keys() ([]signature.Key, signature.Head)
	// AddKey adds a key, of which k has ID, Key, Name, By and Proof.
	AddKey(ctx context.Context, k signature.Key) (index uint64, err error)
	// RevokeKey revokes a key.
	RevokeKey(ctx context.Context, id string) (index uint64, err error)
	// KeysOf returns the keys of another user, as q.By may see them. Any goroutine
	// may call it, even after Close. It waits for other sites.
	KeysOf(ctx context.Context, q protocol.KeysRequest) ([]signature.Key, signature.Head, error)

	// Report stores a report for the operators, of which r.By is the user's or one
	// of the remote domain's.
	Report(ctx context.Context, r protocol.Report) error

	// Close reports that the client has ended the session or is gone. Listening
	// and watching end in the background. SENDs in progress continue. It is
	// called exactly once, last of all.
	Close()
}
