package accounts

import (
	"context"
	"slices"
	"strings"
	"time"

	"simpd/protocol"
)

// CheckToken asks the site's token sources in the order of each domain's
// sources, until one knows the token. If the client says who it is, only those
// of that domain are asked. An opaque token is shown to one provider only, unless
// all that could be asked may see tokens of others. The answer is Accepted, if the token is of a user
// whose domain has the source, or Rejected. An error is an *UnavailableError:
// nothing is known of the token.
func (r *Registry) CheckToken(ctx context.Context, l protocol.TokenLogin) (Answer, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, protocol.SourceTimeout)
	defer cancel()
	g := r.current.Load()
	candidates := g.tokenSources(r.domains, l.User)
	if IsOpaque(l.Token) && NeedsOneIntrospector(sourcesOf(candidates)) {
		r.logger.Info("a token was rejected", "reason", "it does not say who has issued it, and several sources could ask their providers: the client has to name the user's address")
		candidates = nil
	}
	for _, m := range candidates {
		a, err := m.checkToken(ctx, l.Token)
		switch {
		case err != nil:
			return Answer{}, err
		case a.Verdict == Unknown:
			continue
		case a.Verdict == Accepted && g.serves(a.User, m) && (l.User.IsZero() || l.User == a.User):
			return a, nil
		}
		break
	}
	awaitRejection(ctx, began)
	return Answer{Verdict: Rejected}, nil
}

// IsOpaque reports whether a token is not a JSON Web Token, which would say who
// has issued it.
func IsOpaque(token string) bool { return strings.Count(token, ".") != 2 }

// NeedsOneIntrospector reports whether several of the sources would show an
// opaque token to their providers, and one of them must not see those of others.
func NeedsOneIntrospector(sources []Source) bool {
	introspecting, exclusive := 0, false
	for _, s := range sources {
		if i, ok := s.(Introspector); ok {
			if opaque, foreign := i.Introspects(); opaque {
				introspecting++
				exclusive = exclusive || !foreign
			}
		}
	}
	return introspecting > 1 && exclusive
}

func sourcesOf(members []*member) (all []Source) {
	for _, m := range members {
		all = append(all, m.source)
	}
	return all
}

// tokenSources returns the token sources of the user's domain, or of all
// domains, each once.
func (g *registered) tokenSources(domains []string, user protocol.Address) (list []*member) {
	if !user.IsZero() {
		domains = []string{user.Domain()}
	}
	for _, domain := range domains {
		for _, m := range g.domains[domain] {
			if _, ok := m.source.(TokenSource); ok && !slices.Contains(list, m) {
				list = append(list, m)
			}
		}
	}
	return list
}

// serves reports whether the user's domain has the source.
func (g *registered) serves(user protocol.Address, m *member) bool {
	return slices.Contains(g.domains[user.Domain()], m)
}

// IsTableBefore reports whether the table is asked before a source about users of
// a domain.
func (r *Registry) IsTableBefore(domain, source string) bool {
	for _, m := range r.current.Load().domains[domain] {
		if m.isTable() || m.name == source {
			return m.isTable()
		}
	}
	return false
}

// ShareKeys returns the keys of a source's provider for another node, which has
// others or none; ErrNotShared if there is no such source.
func (r *Registry) ShareKeys(ctx context.Context, source string, known SharedKeys) (SharedKeys, error) {
	if m := r.current.Load().members[source]; m != nil {
		if s, ok := m.source.(KeySharer); ok {
			return s.ShareKeys(ctx, known)
		}
	}
	return SharedKeys{}, ErrNotShared
}

// HasSource reports whether a domain has the source.
func (r *Registry) HasSource(domain, source string) bool {
	return slices.ContainsFunc(r.current.Load().domains[domain], func(m *member) bool { return m.name == source })
}

// HasTable reports whether accounts of a domain may be the table's own.
func (r *Registry) HasTable(domain string) bool {
	return slices.ContainsFunc(r.current.Load().domains[domain], (*member).isTable)
}

// checkToken asks the source about a token.
func (m *member) checkToken(ctx context.Context, token string) (Answer, error) {
	return m.ask(ctx, m.keyOf("token", token), func(ctx context.Context) (Answer, error) {
		return m.source.(TokenSource).CheckToken(ctx, token)
	})
}
