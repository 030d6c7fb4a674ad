package server

import (
	"slices"

	"simpd/protocol"
)

// isLocal reports whether a is in one of the site's own domains.
func (s *Server) isLocal(a protocol.Address) bool { return s.isLocalDomain(a.Domain()) }

// isLocalDomain reports whether a domain is one of the site's.
func (s *Server) isLocalDomain(domain string) bool { return slices.Contains(s.config.Domains, domain) }

// parseAddress parses an address, and converts those of the site's own users
// to the form in which they are compared.
func (s *Server) parseAddress(v string) (protocol.Address, error) {
	var a protocol.Address
	err := s.idn.parse(v, func() (err error) {
		if a, err = protocol.ParseAddress(v); err == nil && s.isLocal(a) {
			a, _ = a.PRECISFold() // an address that no user can have stays as it is
		}
		return err
	})
	return a, err
}

// addresses appends the values of key to all, each once. The error names the
// first invalid one.
func (s *session) addresses(all []protocol.Address, r *request, key string) ([]protocol.Address, error) {
	for i := range r.line.Params {
		p := &r.line.Params[i]
		if p.Key != key {
			continue
		}
		a, err := s.server.parseAddress(p.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return withoutRepeats(all), nil
}

// withoutRepeats removes repeated addresses.
func withoutRepeats(all []protocol.Address) []protocol.Address {
	if len(all) < 2 {
		return all
	}
	known := make(map[protocol.Address]struct{}, len(all))
	return slices.DeleteFunc(all, func(a protocol.Address) bool {
		_, again := known[a]
		known[a] = struct{}{}
		return again
	})
}

// longLine is the number of parameters above which a line is not handled on
// the event loop.
const longLine = 16

// isLong reports whether r takes long to parse: it has many parameters, or
// addresses that need IDNA.
func (r *request) isLong() bool { return len(r.line.Params) > longLine || r.idn > 0 }

// boolParam parses a parameter whose only value is yes.
func boolParam(r *request, key string) (bool, error) {
	v, given := r.line.Get(key)
	if given && v != "yes" {
		return false, protocol.Errorf(protocol.StatusBadRequest, "%s=%s: yes is the only value", key, protocol.Quote(v))
	}
	return given, nil
}

// hasNoneOf reports whether none of the keys is given.
func (r *request) hasNoneOf(keys ...string) bool {
	for _, key := range keys {
		if _, given := r.line.Get(key); given {
			return false
		}
	}
	return true
}
