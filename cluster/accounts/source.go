// Package accounts asks the account sources of a site, such as directories,
// about logins. A domain has an ordered list of sources, of which the site's
// table may be one. An address belongs to exactly one source, the first that
// knows it.
//
// What a source has to do is small: to answer one query. The Registry does what
// is the same for all: the order, the time that a login may take, how many
// queries are in flight, the merging of identical ones, the memory of
// rejections, and metrics.
package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"simpd/protocol"
)

// Table is the name of the source that is the site's own table.
const Table = "table"

// Source is where accounts come from. Any goroutine may call its methods. It
// also implements some of PasswordSource, TokenSource, Directory and Explainer.
type Source interface {
	// Type returns the word for it in the accounts file.
	Type() string
	// Close is called once the source gets no further queries. Those in progress
	// may go on.
	Close()
}

// PasswordSource checks passwords.
type PasswordSource interface {
	Source
	// CheckPassword reports whether the password is the user's, before ctx ends.
	// Logins wait for it for protocol.SourceTimeout; ctx leaves more time to learn
	// that a password is wrong. An error means that nothing is known of the
	// password; an *UnavailableError may say when to ask again. It never sees an
	// empty password.
	CheckPassword(ctx context.Context, l protocol.PasswordLogin) (Answer, error)
}

// TokenSource checks OAuth tokens.
type TokenSource interface {
	Source
	// CheckToken reports whose token it is, before ctx ends. An error means that
	// nothing is known of the token, as for CheckPassword.
	CheckToken(ctx context.Context, token string) (Answer, error)
	// Provider returns what programs have to know to get a token.
	Provider() protocol.TokenProvider
}

// Introspector is implemented by token sources that can ask their providers
// about tokens.
type Introspector interface {
	// Introspects reports whether opaque tokens, which do not say who has issued
	// them, are shown to the provider, and whether also those that another
	// provider may have issued.
	Introspects() (opaque, foreign bool)
}

// KeySharer is implemented by token sources that check tokens with their
// provider's keys. One node fetches these for the whole site.
type KeySharer interface {
	// ShareKeys returns the keys for a node that has others or none, after it has
	// fetched them if the time has come. It returns ErrNotShared if that node's
	// provider is another one.
	ShareKeys(ctx context.Context, known SharedKeys) (SharedKeys, error)
}

// SharedKeys are the keys of a provider on their way between nodes.
type SharedKeys struct {
	Issuer string        // the provider
	Keys   []byte        // a JSON Web Key Set; nil: not fetched yet
	Age    time.Duration // since they were fetched
}

// ErrNotShared means that a node has to fetch its provider's keys itself.
var ErrNotShared = errors.New("no other node fetches these keys")

// ClientAware is implemented by sources whose answers depend on where the
// client is. Only logins from the same address are merged for them.
type ClientAware interface{ DependsOnClient() bool }

// Final is implemented by sources that may not tell unknown users from wrong
// passwords. Such a source has to be the last of its domains.
type Final interface{ RejectsUnknown() bool }

// Directory is a source that can be asked about users who do not log in.
type Directory interface {
	Source
	// Searches reports whether it is configured so that it can be asked.
	Searches() bool
	// FindUsers returns the state of each of the users. An error means that
	// nothing is known about any of them.
	FindUsers(ctx context.Context, users []protocol.Address) (map[protocol.Address]UserState, error)
	// MaxLeavers is how many percent of its accounts may leave it at once. If more
	// are missing, the directory is more likely to be wrong.
	MaxLeavers() int
}

// UserState is the state of a user in a directory.
type UserState uint8

// The states.
const (
	UserMissing  UserState = iota // there is no such user
	UserActive                    // the user may log in
	UserDisabled                  // the user is there, and may not log in
)

// Explainer is a source that can explain what it would do about a user, without
// a password.
type Explainer interface {
	// Explain returns its steps, and what becomes of a login with the right
	// password. Unknown means that the next source is asked. An error means that
	// it can't be asked now.
	Explain(ctx context.Context, user protocol.Address) ([]Step, Verdict, error)
}

// Step is one step of an explanation.
type Step struct {
	Text string // for an operator
	OK   bool   // false: this is why the user can't log in here
}

// Verdict is the answer of a source to a login.
type Verdict uint8

// The verdicts.
const (
	Unknown  Verdict = iota // the source does not know the user
	Accepted                // what was presented is the user's
	Rejected                // it is not, or the user may not log in
	maxVerdict
)

var verdictNames = [maxVerdict]string{"unknown", "accepted", "rejected"}

// String returns the verdict's name in metrics and logs.
func (v Verdict) String() string { return verdictNames[v] }

// Answer is the answer of a source, or of the Registry, to a login.
type Answer struct {
	Verdict Verdict
	Source  string // the name of the source that answered; set by the Registry
	// User has logged in. The Registry sets it for a password.
	User protocol.Address
	// Expiry is the end of the login; nil: never.
	Expiry *protocol.Expiry
}

// UnavailableError reports that a source can't be asked now.
type UnavailableError struct {
	Source string        // its name; set by the Registry
	Retry  time.Duration // when to ask again; 0: it is not known
	Err    error
}

// Error describes the error to an operator.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the account source %s can't be asked now: %v", e.Source, e.Err)
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }
