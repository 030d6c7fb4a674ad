package ldap

import (
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"simpd/protocol"
)

// Mapping says which address an entry has: that in an attribute, or one of a
// fixed domain whose local part is in an attribute.
type Mapping struct {
	attribute string
	domain    string // "": the attribute holds the whole address
}

// standardMapping is that of entries with e-mail addresses.
var standardMapping = Mapping{attribute: "mail"}

// ParseMapping reads a mapping: an attribute, like mail, or {ATTRIBUTE}@DOMAIN.
func ParseMapping(s string) (m Mapping, err error) {
	rest, template := strings.CutPrefix(s, "{")
	if template {
		var domain string
		var closed bool
		if m.attribute, domain, closed = strings.Cut(rest, "}@"); !closed {
			return m, fmt.Errorf("invalid address %q: must be an attribute, like mail, or be like {uid}@example.com", s)
		}
		if m.domain, err = protocol.ParseDomain(domain); err != nil {
			return m, err
		}
	} else {
		m.attribute = s
	}
	if ParseAttribute(m.attribute) != nil {
		return m, fmt.Errorf("invalid address %q: must be an attribute, like mail, or be like {uid}@example.com", s)
	}
	return m, nil
}

// ParseAttribute checks the name of an attribute.
func ParseAttribute(s string) error {
	if s == "" || strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
		return fmt.Errorf("invalid attribute %q: must be like memberUid", s)
	}
	return nil
}

// filter returns the filter of entries that may have the address; false if none
// has.
func (m Mapping) filter(user protocol.Address) (string, bool) {
	value := user.String()
	if m.domain != "" {
		if user.Domain() != m.domain {
			return "", false
		}
		value = user.Local()
	}
	return "(" + m.attribute + "=" + ldap.EscapeFilter(value) + ")", true
}

// addresses returns the addresses of an entry in canonical form. A directory
// compares values in ways of its own, without regard to case or accents, so
// what it has found need not be what was looked for.
func (m Mapping) addresses(e *ldap.Entry) (all []protocol.Address) {
	for _, value := range e.GetEqualFoldAttributeValues(m.attribute) {
		if m.domain != "" {
			value += "@" + m.domain
		}
		a, err := protocol.ParseAddress(strings.TrimSpace(value))
		if err != nil {
			continue // nobody can have it
		}
		if folded, ok := a.PRECISFold(); ok {
			all = append(all, folded)
		}
	}
	return all
}
