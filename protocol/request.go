package protocol

// Permission is what a rule says of one thing.
type Permission uint8

// The permissions. The zero Permission says nothing: the next less specific
// rule is asked, and in the end the site's policy.
const (
	Unset Permission = iota
	Allow
	Deny
)

// String returns "allow", "deny", or "" for Unset.
func (p Permission) String() string {
	switch p {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	}
	return ""
}

// ParsePermission reads "allow" or "deny".
func ParsePermission(s string) (Permission, bool) {
	switch s {
	case "allow":
		return Allow, true
	case "deny":
		return Deny, true
	}
	return Unset, false
}

// Rule is one line of a user's access control list (SIMP.md, section 8): what
// Who may. A Rule with both permissions Unset removes the rule for Who.
type Rule struct {
	Who      Pattern
	Message  Permission // may send messages
	Presence Permission // may watch and query
	// Written is Who as it was given, if Who is a key (Pattern.Key) that
	// differs from it; else zero.
	Written Pattern
}

// Shown is whom the rule speaks of, as it was given.
func (r Rule) Shown() Pattern {
	if r.Written.IsZero() {
		return r.Who
	}
	return r.Written
}

// Same reports whether the rules say the same of the same, however it was given.
func (r Rule) Same(o Rule) bool {
	r.Written, o.Written = Pattern{}, Pattern{}
	return r == o
}

// Empty reports whether the rule says nothing, which removes it.
func (r Rule) Empty() bool { return r.Message == Unset && r.Presence == Unset }

// Contact is one entry of a user's contact list (SIMP.md, section 8).
type Contact struct {
	Address Address
	Name    string // for people; at most MaxNote octets, may be empty
}
