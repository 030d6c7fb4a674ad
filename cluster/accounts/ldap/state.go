package ldap

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Bits of userAccountControl.
const uacDisabled = 0x2

// Values that mean that something never happens, or has been done by hand.
const (
	neverExpires   = 1<<63 - 1
	lockedForGood  = "000001010000Z"
	windowsEpoch   = 11644473600 // seconds from 1601 to 1970
	windowsSeconds = 10_000_000  // units of accountExpires in a second
)

// disabledReason returns why an entry's user can't log in, whatever the
// password; "" if nothing is against it. An account that is locked for a while
// is not disabled: the directory decides at the bind.
func disabledReason(e *ldap.Entry, now time.Time) string {
	if uac, err := strconv.ParseInt(e.GetEqualFoldAttributeValue(userAccountControl), 10, 64); err == nil && uac&uacDisabled != 0 {
		return "the account is disabled (userAccountControl)"
	}
	if expires, err := strconv.ParseInt(e.GetEqualFoldAttributeValue(accountExpires), 10, 64); err == nil && expires > 0 && expires != neverExpires {
		if at := time.Unix(expires/windowsSeconds-windowsEpoch, 0); !now.Before(at) {
			return "the account has expired (accountExpires)"
		}
	}
	if strings.EqualFold(e.GetEqualFoldAttributeValue(accountLock), "true") {
		return "the account is disabled (nsAccountLock)"
	}
	if e.GetEqualFoldAttributeValue(lockedTime) == lockedForGood {
		return "the account is locked by an administrator (pwdAccountLockedTime)"
	}
	return ""
}

// wrongPassword is the refusal that needs no explanation.
const wrongPassword = "the password is wrong"

// subCodes are what Active Directory says in the text of an error, as "data
// 52e".
var subCodes = map[string]string{
	"525": wrongPassword, // no such user
	"52e": wrongPassword,
	"530": "the user may not log in at this time",
	"531": "the user may not log in from this machine",
	"532": "the password has expired",
	"533": "the account is disabled",
	"568": "the user is in too many groups",
	"701": "the account has expired",
	"773": "the user must choose a new password first",
	"775": "the account is locked after too many failed logins",
}

// bindResult returns why the directory did not accept a user's bind, "" if it
// did; an error if it says nothing of the password.
func bindResult(err error) (refusal string, failure error) {
	switch {
	case err == nil:
		return "", nil
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials):
		_, data, _ := strings.Cut(err.Error(), ", data ")
		code, _, _ := strings.Cut(data, ",")
		if text := subCodes[strings.ToLower(strings.TrimSpace(code))]; text != "" {
			return text, nil
		}
		return wrongPassword, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultInvalidDNSyntax):
		return wrongPassword, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultConstraintViolation):
		return "the directory is unwilling: " + err.Error(), nil // locked or disabled, at some servers
	}
	return "", err
}
