package ldap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// Source is an LDAP directory with one server or several. Any goroutine may
// call its methods.
type Source struct {
	config Config
	pools  []*pool // in the order of the servers
}

// The capabilities of a directory.
var (
	_ accounts.PasswordSource = (*Source)(nil)
	_ accounts.Directory      = (*Source)(nil)
	_ accounts.Explainer      = (*Source)(nil)
	_ accounts.Monitored      = (*Source)(nil)
	_ accounts.Final          = (*Source)(nil)
	_ accounts.GroupSource    = (*Source)(nil)
)

// New returns a Source. It does not connect yet.
func New(c Config) (*Source, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Filter = cmp.Or(c.Filter, "(objectClass=*)")
	c.Address = cmp.Or(c.Address, standardMapping)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.MaxLeavers = cmp.Or(c.MaxLeavers, 10)
	c.Groups.setDefaults()
	s := &Source{config: c}
	for _, name := range c.Servers {
		p, err := newPool(&s.config, name)
		if err != nil {
			return nil, err
		}
		s.pools = append(s.pools, p)
	}
	return s, nil
}

// Type returns "ldap".
func (*Source) Type() string { return "ldap" }

// Close closes the connections that no query uses.
func (s *Source) Close() {
	for _, p := range s.pools {
		p.close()
	}
}

// Servers returns which servers are failing.
func (s *Source) Servers() map[string]bool {
	all := map[string]bool{}
	for _, p := range s.pools {
		all[p.name] = p.breaker.IsOpen()
	}
	return all
}

// CheckPassword looks for the user's entry, and binds as it with the password.
// The time of a login is for finding a server that answers. It may then delay its
// answer to a wrong password, as some do on purpose, until ctx ends.
func (s *Source) CheckPassword(ctx context.Context, l protocol.PasswordLogin) (a accounts.Answer, err error) {
	if l.Password == "" { // such a bind is anonymous, and succeeds
		return accounts.Answer{Verdict: accounts.Rejected}, nil
	}
	searching, cancel := context.WithTimeout(ctx, protocol.SourceTimeout)
	defer cancel()
	err = s.askServers(searching, func(searching context.Context, p *pool) (err error) {
		a.Verdict, err = s.checkAt(searching, ctx, p, l)
		return err
	})
	return a, err
}

// checkAt asks one server: it has to answer a search before searching ends, and
// a bind before ctx does.
func (s *Source) checkAt(searching, ctx context.Context, p *pool, l protocol.PasswordLogin) (accounts.Verdict, error) {
	name := ""
	if s.config.BindTemplate != "" {
		if err := p.ping(searching); err != nil {
			return accounts.Unknown, err
		}
		name = fillTemplate(s.config.BindTemplate, l.User)
	} else {
		found, err := s.findUser(searching, p, l.User)
		switch {
		case err != nil:
			return accounts.Unknown, err
		case found.verdict != accounts.Accepted:
			return found.verdict, nil
		}
		name = found.dn
	}
	var refusal string
	err := p.useUntil(searching, ctx, binding, func(c *conn) (err error) {
		refusal, err = bindResult(c.Bind(name, l.Password))
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return accounts.Unknown, unansweredBind{fmt.Errorf("the server answers searches, but not a bind: %w", context.Cause(ctx))}
	case err != nil:
		return accounts.Unknown, err
	case refusal != "":
		if refusal != wrongPassword {
			s.config.Logger.Info("a directory refused a login", "source", s.config.Name, "user", l.User, "reason", refusal)
		}
		return accounts.Rejected, nil
	}
	return accounts.Accepted, nil
}

// unansweredBind wraps the end of a bind that a server did not answer although it
// answers. No other server is asked, because the directory would count a wrong
// password twice.
type unansweredBind struct{ error }

// askServers calls ask with one server after the other until one answers. The
// time left is shared out among those that are still to come.
func (s *Source) askServers(ctx context.Context, ask func(context.Context, *pool) error) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(protocol.SourceTimeout)
	}
	unavailable := &accounts.UnavailableError{Source: s.config.Name}
	var errs []error
	for i, p := range s.pools {
		allowed, retry := p.breaker.Allow(time.Now())
		if !allowed {
			unavailable.Retry = min(retry, cmp.Or(unavailable.Retry, retry))
			errs = append(errs, fmt.Errorf("%s has failed a moment ago", p.name))
			continue
		}
		share := time.Until(deadline) / time.Duration(len(s.pools)-i)
		err := s.askServer(ctx, p, share, ask)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", p.name, plainError(err)))
		if _, ok := errors.AsType[unansweredBind](err); ok {
			break
		}
	}
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	unavailable.Err = errors.New(strings.Join(texts, "; "))
	return unavailable
}

// askServer asks one server, and records how it does.
func (s *Source) askServer(ctx context.Context, p *pool, within time.Duration, ask func(context.Context, *pool) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	failed, began := p.breaker.IsOpen(), time.Now()
	err := ask(ctx, p)
	_, answers := errors.AsType[unansweredBind](err)
	if err != nil && ctx.Err() != nil && !answers {
		err = connectionError{fmt.Errorf("no answer within %v", within.Round(time.Millisecond))}
	}
	broken := isConnectionFailure(err) && !answers // else it is only this query that it does not answer
	broken = p.breaker.Record(ctx, began, s.fairTime(), broken)
	switch {
	case broken && !failed:
		s.config.Logger.Warn("a directory server fails", "source", s.config.Name, "server", p.name, "error", plainError(err))
	case err == nil && failed:
		s.config.Logger.Info("a directory server answers again", "source", s.config.Name, "server", p.name)
	}
	return err
}

// fairTime returns how long a server must have had for an answer so that its
// silence counts: less than its share of the time of a login.
func (s *Source) fairTime() time.Duration {
	return min(accounts.FairTime, protocol.SourceTimeout/time.Duration(len(s.pools)+1))
}

// The attributes that say whether an account is disabled.
const (
	userAccountControl = "userAccountControl"   // Active Directory
	accountExpires     = "accountExpires"       // Active Directory
	accountLock        = "nsAccountLock"        // 389 Directory Server
	lockedTime         = "pwdAccountLockedTime" // OpenLDAP, overlay ppolicy
)

// userAttributes returns the attributes of a user's entry that a login depends on.
func (c *Config) userAttributes() []string {
	return []string{c.Address.attribute, userAccountControl, accountExpires, accountLock, lockedTime}
}

// search looks for entries of users, below the base.
func (s *Source) search(ctx context.Context, p *pool, filter string, limit int) (found []*ldap.Entry, err error) {
	deadline, _ := ctx.Deadline()
	seconds := max(1, int(time.Until(deadline)/time.Second))
	r := ldap.NewSearchRequest(s.config.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, limit, seconds, false,
		"(&"+s.config.Filter+filter+")",
		s.config.userAttributes(), nil)
	err = p.use(ctx, searching, func(c *conn) error {
		result, err := c.Search(r)
		if result != nil {
			found = result.Entries
		}
		if limit > 0 && ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
			err = nil // there are more than one wants to see, which says enough
		}
		return err
	})
	if err != nil && !isConnectionFailure(err) {
		err = fmt.Errorf("searching below %s: %w", s.config.Base, err)
	}
	return found, err
}

// maxFound limits the entries with one address that are looked at.
const maxFound = 10

// foundUser holds the directory's entry of a user.
type foundUser struct {
	verdict accounts.Verdict // Accepted: the user has to prove the password
	dn      string
	why     string // where the verdict is Rejected
	others  []string
}

// findUser looks for the one entry of a user. Entries that the directory takes
// for the user's, but that map to other addresses, are none.
func (s *Source) findUser(ctx context.Context, p *pool, user protocol.Address) (f foundUser, err error) {
	filter, ok := s.config.Address.filter(user)
	if !ok {
		return f, nil
	}
	entries, err := s.search(ctx, p, filter, maxFound)
	if err != nil {
		return f, err
	}
	for _, e := range entries {
		if !s.isOf(e, user) {
			continue
		}
		if f.dn != "" {
			f.others = append(f.others, e.DN)
			continue
		}
		f.dn, f.verdict = e.DN, accounts.Accepted
		if f.why = disabledReason(e, time.Now()); f.why != "" {
			f.verdict = accounts.Rejected
		}
	}
	if len(f.others) > 0 {
		f.verdict, f.why = accounts.Rejected, "several entries have this address"
		s.config.Logger.Warn("entries of a directory have the same address, so that none of them can log in",
			"source", s.config.Name, "user", user, "entry", f.dn, "other", f.others[0])
	}
	return f, nil
}

func (s *Source) isOf(e *ldap.Entry, user protocol.Address) bool {
	for _, a := range s.config.Address.addresses(e) {
		if a == user {
			return true
		}
	}
	return false
}
