package sasl

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"

	"simpd/protocol"
)

// oidNameConstraints is the object identifier of name constraints.
var oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// checkMailboxConstraints returns an error if an authority must not name one of
// these SmtpUTF8Mailboxes. Constraints of rfc822Names hold for them as well (RFC
// 9598, section 6); package x509 does not check that. An authority with
// constraints of other kinds of names that a mailbox could be must not name any.
func checkMailboxConstraints(mailboxes []string, authorities []*x509.Certificate) error {
	if len(mailboxes) == 0 {
		return nil
	}
	for _, ca := range authorities {
		if constrained, err := constrainsOtherNames(ca); err != nil || constrained {
			return fmt.Errorf("the authority %q has name constraints that can't be checked", ca.Subject.CommonName)
		}
		for _, mailbox := range mailboxes {
			isIn := func(constraint string) bool { return matchesMailbox(mailbox, constraint) }
			permitted := len(ca.PermittedEmailAddresses) == 0 || slices.ContainsFunc(ca.PermittedEmailAddresses, isIn)
			if !permitted || slices.ContainsFunc(ca.ExcludedEmailAddresses, isIn) {
				return fmt.Errorf("the authority %q is not allowed to name %s", ca.Subject.CommonName, protocol.Quote(mailbox))
			}
		}
	}
	return nil
}

// matchesMailbox reports whether a mailbox is in a constraint of rfc822Names:
// one mailbox, all of a domain, or, after a dot, all of its subdomains (RFC 5280,
// section 4.2.1.10).
func matchesMailbox(mailbox, constraint string) bool {
	if strings.Contains(constraint, "@") {
		return canonicalMailbox(mailbox) == canonicalMailbox(constraint)
	}
	domain := canonicalDomain(mailbox[strings.LastIndexByte(mailbox, '@')+1:])
	if parent, ok := strings.CutPrefix(constraint, "."); ok {
		return strings.HasSuffix(domain, "."+canonicalDomain(parent))
	}
	return domain == canonicalDomain(constraint)
}

// canonicalMailbox returns the address of the user whom a mailbox is; of what is
// no address, the text itself.
func canonicalMailbox(s string) string {
	if a, err := protocol.ParseAddress(s); err == nil {
		if folded, ok := a.PRECISFold(); ok {
			return folded.String()
		}
	}
	return s
}

// canonicalDomain returns the form in which domains are compared; of what is no
// domain, the text itself.
func canonicalDomain(s string) string {
	if domain, err := protocol.ParseDomain(s); err == nil {
		return domain
	}
	return strings.ToLower(s)
}

// constrainsOtherNames reports whether a certificate has constraints of
// otherNames, of which a SmtpUTF8Mailbox is one.
func constrainsOtherNames(ca *x509.Certificate) (bool, error) {
	for _, e := range ca.Extensions {
		if !e.Id.Equal(oidNameConstraints) {
			continue
		}
		var lists []asn1.RawValue // permitted and excluded subtrees
		if rest, err := asn1.Unmarshal(e.Value, &lists); err != nil || len(rest) > 0 {
			return false, errors.New("invalid name constraints")
		}
		for _, list := range lists {
			for rest := list.Bytes; len(rest) > 0; {
				var subtree struct {
					Base asn1.RawValue
					Min  int `asn1:"optional,tag:0,default:0"`
					Max  int `asn1:"optional,tag:1,default:-1"`
				}
				var err error
				if rest, err = asn1.Unmarshal(rest, &subtree); err != nil {
					return false, errors.New("invalid name constraints")
				}
				if subtree.Base.Class == asn1.ClassContextSpecific && subtree.Base.Tag == 0 {
					return true, nil
				}
			}
		}
	}
	return false, nil
}
