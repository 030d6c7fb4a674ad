package server

import (
	"slices"

	"simpd/protocol"
)

// own reports whether a's domain is one of the site's.
func (s *Server) own(a protocol.Address) bool { return s.serves(a.Domain()) }

// serves reports whether a domain is one of the site's.
func (s *Server) serves(domain string) bool { return slices.Contains(s.config.Domains, domain) }

// parseAddress reads an address, and brings it into the form in which those
// of the site's own users compare.
func (s *Server) parseAddress(v string) (protocol.Address, error) {
	var a protocol.Address
	err := s.idn.read(v, func() (err error) {
		if a, err = protocol.ParseAddress(v); err == nil && s.own(a) {
			a, _ = a.Fold() // one that can't be a user's is nobody's, as it is
		}
		return err
	})
	return a, err
}

// addresses appends to all what key gives, each once; the error names the first
// that is none.
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

// withoutRepeats takes out the addresses that are given again.
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

// longLine is how many params a line has at most that is dealt with where others
// wait: by the event loop.
const longLine = 16

// isLong reports whether r takes long to read: it has many params, or addresses
// that need IDNA.
func (r *request) isLong() bool { return len(r.line.Params) > longLine || r.idn > 0 }

// yes reads a key of which yes is the only value.
func yes(r *request, key string) (bool, error) {
	v, given := r.line.Get(key)
	if given && v != "yes" {
		return false, protocol.Errorf(protocol.StatusBadRequest, "%s=%s: yes is the only value", key, protocol.Quote(v))
	}
	return given, nil
}

// asksNothing reports whether none of the keys is given.
func (r *request) asksNothing(keys ...string) bool {
	for _, key := range keys {
		if _, given := r.line.Get(key); given {
			return false
		}
	}
	return true
}
