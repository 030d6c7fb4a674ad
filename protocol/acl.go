package protocol

// Permission says whether a rule allows an action, denies it, or leaves it to
// the next rule.
type Permission uint8

// The permissions. With the zero Permission the next less specific rule
// decides, and in the end the site's policy.
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

// Rule is an entry of a user's access control list (SIMP.md, section 8): it says
// what Who may do. A Rule with both permissions Unset removes the rule for Who.
type Rule struct {
	Who      Pattern
	Message  Permission // may send messages
	Presence Permission // may watch and query
	// Original is Who as it was given, if Who is a key (Pattern.Key) that
	// differs from it; else zero.
	Original Pattern
}

// Display returns Who as the user wrote it.
func (r Rule) Display() Pattern {
	if r.Original.IsZero() {
		return r.Who
	}
	return r.Original
}

// Equal reports whether the rules give the same permissions to the same Who,
// however it was written.
func (r Rule) Equal(o Rule) bool {
	r.Original, o.Original = Pattern{}, Pattern{}
	return r == o
}

// IsEmpty reports whether both permissions are Unset.
func (r Rule) IsEmpty() bool { return r.Message == Unset && r.Presence == Unset }

// Contact is one entry of a user's contact list (SIMP.md, section 8).
type Contact struct {
	Address Address
	Name    string // for people; at most MaxNote octets, may be empty
	// Group is the name of a group of a directory that the user and the contact
	// are members of; "": the user has added the contact.
	Group string
}
