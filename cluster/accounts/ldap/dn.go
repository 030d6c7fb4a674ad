package ldap

import (
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// normalDN returns a distinguished name in the form in which equal ones are the
// same: without regard to case, to spaces around and within values, and to how
// characters are escaped. It reports whether s is one. A unique identifier, as
// uniqueMember may have behind the name (RFC 4517, section 3.3.21), is left out.
func normalDN(s string) (string, bool) {
	if !strings.Contains(s, "=") {
		return "", false
	}
	if at := strings.LastIndex(s, "#'"); at > 0 && strings.HasSuffix(s, "'B") {
		s = s[:at]
	}
	dn, err := ldap.ParseDN(s)
	if err != nil || len(dn.RDNs) == 0 {
		return "", false
	}
	for _, rdn := range dn.RDNs {
		for _, a := range rdn.Attributes {
			a.Value = strings.Join(strings.Fields(strings.ToLower(a.Value)), " ")
		}
	}
	return dn.String(), true
}

// firstValue returns the value of the first part of a distinguished name, as
// Sales in cn=Sales,ou=groups.
func firstValue(s string) string {
	dn, err := ldap.ParseDN(s)
	if err != nil || len(dn.RDNs) == 0 || len(dn.RDNs[0].Attributes) == 0 {
		return ""
	}
	return dn.RDNs[0].Attributes[0].Value
}
