package router

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"simpd/cluster/accounts"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// addSources adds to c what account sources have to do with the user's
// passwords.
func (r *Router) addSources(c *protocol.Credentials, user protocol.Address) {
	c.AsksSources = c.Source != ""
	if r.config.Sources != nil {
		// Where no source checks passwords, an account of a source has none, and is
		// answered as an unknown user is, in the same time.
		passwords := r.LoginMethods(user.Domain()).Passwords
		c.AsksSources = passwords != protocol.ChecksInTable
		c.OwnElsewhere = passwords == protocol.ChecksSourceFirst
	}
}

// LoginMethods returns how users of a domain can log in; for "", what holds for
// all domains.
func (r *Router) LoginMethods(domain string) protocol.LoginMethods {
	if r.config.Sources == nil {
		return protocol.LoginMethods{}
	}
	return r.config.Sources.LoginMethods(domain)
}

// AskSources asks the account sources about a password. The first login that a
// source accepts registers the account in the table.
func (r *Router) AskSources(ctx context.Context, l protocol.PasswordLogin) (protocol.VerifiedLogin, error) {
	login := accounts.Login{PasswordLogin: l}
	account, known := r.config.Table.Account(l.User)
	switch {
	case !known:
		login.Refused = !canBeUser(l.User)
	case account.Disabled && !account.HasLeftSource():
		login.Refused = true
	case account.Source() == store.CertificateSource: // it has no password, and a source may take it over
	case account.Source() != "":
		login.Owner = account.Source()
	case l.Fits:
		login.Table = accounts.Accepted
	default:
		login.Table = accounts.Rejected
	}
	if r.config.Sources == nil {
		return protocol.VerifiedLogin{}, r.sourceError(errors.New("there are no account sources"))
	}
	answer, err := r.config.Sources.CheckPassword(ctx, login)
	if err != nil {
		return protocol.VerifiedLogin{}, r.sourceError(err)
	}
	return r.acceptLogin(ctx, answer, account)
}

// canBeUser reports whether a user of the site can have the address.
func canBeUser(a protocol.Address) bool {
	_, ok := a.PRECISFold()
	return ok
}

// AskToken asks the account sources whose OAuth token it is. The first login
// that a source accepts registers the account in the table.
func (r *Router) AskToken(ctx context.Context, l protocol.TokenLogin) (protocol.VerifiedLogin, error) {
	if r.config.Sources == nil {
		return protocol.VerifiedLogin{}, errTokenRejected
	}
	answer, err := r.config.Sources.CheckToken(ctx, l)
	if err != nil {
		return protocol.VerifiedLogin{}, r.sourceError(err)
	}
	account, _ := r.config.Table.Account(answer.User)
	if answer.Verdict != accounts.Accepted || !r.ownsAccount(answer, account) {
		return protocol.VerifiedLogin{}, errTokenRejected
	}
	v, err := r.acceptLogin(ctx, answer, account)
	if errors.Is(err, errRejected) {
		err = errTokenRejected
	}
	return v, err
}

// ownsAccount reports whether the account is the source's, or may become it.
func (r *Router) ownsAccount(a accounts.Answer, account *store.Account) bool {
	switch {
	case account == nil, account.Source() == store.CertificateSource:
		return true
	case account.Source() == "":
		return !r.config.Sources.IsTableBefore(a.User.Domain(), a.Source)
	}
	return account.Source() == a.Source
}

// errTokenRejected is the answer to a token that is not accepted.
var errTokenRejected = &protocol.Error{Status: protocol.StatusUnauthorized, Text: "the token is not valid"}

// AcceptCertificate returns the login of a user whom a certificate has proved.
// Every account may be used in that way, whatever its source; where there is
// none it is registered.
func (r *Router) AcceptCertificate(ctx context.Context, user protocol.Address) (protocol.VerifiedLogin, error) {
	account, known := r.config.Table.Account(user)
	switch {
	case known && account.Disabled:
		return protocol.VerifiedLogin{}, protocol.Errorf(protocol.StatusUnauthorized, "the account is disabled")
	case known:
		return protocol.VerifiedLogin{User: user, Credential: account.Generation()}, nil
	case !canBeUser(user):
		return protocol.VerifiedLogin{}, protocol.Errorf(protocol.StatusUnauthorized, "no user can have the address")
	}
	return r.acceptLogin(ctx, accounts.Answer{Verdict: accounts.Accepted, User: user, Source: store.CertificateSource}, nil)
}

// errRejected is the answer to a login that is not accepted.
var errRejected = &protocol.Error{Status: protocol.StatusUnauthorized, Text: "the address or the password is wrong"}

// acceptLogin returns the login of a user whom a source has accepted, after it
// has registered the account. seen is the account that was there when the source
// was asked; nil: none was.
func (r *Router) acceptLogin(ctx context.Context, a accounts.Answer, seen *store.Account) (protocol.VerifiedLogin, error) {
	account, known := r.config.Table.Account(a.User)
	v := protocol.VerifiedLogin{User: a.User, Expiry: a.Expiry}
	switch {
	case a.Verdict != accounts.Accepted, known && account.Disabled && !account.HasLeftSource():
		return protocol.VerifiedLogin{}, errRejected
	case a.Source == accounts.Table:
		return protocol.VerifiedLogin{}, nil
	case known && account.Source() == a.Source && !account.Disabled:
		v.Credential = account.Generation()
		return v, nil
	case !r.config.Table.HasSources(): // an older node could not read the change
		return protocol.VerifiedLogin{}, protocol.Errorf(protocol.StatusUnavailable, "the site is being upgraded; accounts of this kind can log in once all nodes are upgraded")
	}
	res, err := r.proposeChange(ctx, registration(a, r.registrationSalt(a.User), seen))
	if err != nil {
		return protocol.VerifiedLogin{}, err
	}
	if res.Applied { // not where a login at the same time has done it
		r.config.Logger.Info("account registered", "user", a.User, "source", a.Source)
	}
	v.Credential = res.Credential
	return v, nil
}

// registrationSalt returns the salt and the iteration count that the user's
// decoy has, so that nobody sees by SCRAM that the account was registered.
func (r *Router) registrationSalt(user protocol.Address) protocol.Credentials {
	return decoyCredentials(r.config.Table.Secret(), user, r.config.Table.VerifierShapes())
}

// registration returns the change that registers an account. Nobody knows a
// password for its verifier, because the keys are random.
func registration(a accounts.Answer, salt protocol.Credentials, seen *store.Account) *storev1.Change {
	generation := uint64(0)
	if seen != nil {
		generation = seen.Generation()
	}
	keys := make([]byte, 2*sha256.Size)
	rand.Read(keys) // never fails
	return &storev1.Change{Kind: &storev1.Change_RegisterAccount{RegisterAccount: &storev1.RegisterAccount{
		Address: a.User.String(), Source: a.Source, IfGeneration: generation,
		Verifier: &storev1.Verifier{
			Salt: salt.Salt, Iterations: uint32(salt.Iterations), StoredKey: keys[:sha256.Size], ServerKey: keys[sha256.Size:],
		},
	}}}
}

// sourceRetry is when a client is asked to come back if nobody knows better.
const sourceRetry = 5 * time.Second

// sourceError converts the failure of an account source into a response. Users
// are not told of the servers that err may name.
func (r *Router) sourceError(err error) error {
	r.config.Logger.Warn("a login could not be checked", "error", err)
	retry := sourceRetry
	if e, ok := errors.AsType[*accounts.UnavailableError](err); ok && e.Retry > 0 {
		retry = e.Retry
	}
	return &protocol.Error{
		Status: protocol.StatusUnavailable, Text: "the account source can't be asked now; try again",
		Retry: int((retry + time.Second - 1) / time.Second),
	}
}
