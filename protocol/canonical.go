package protocol

// CanonicalAddress returns the address that s, written by Address.String, is.
// Unlike ParseAddress it checks nothing and costs nothing: it is for what was
// parsed before it was stored, never for what a stranger sent.
func CanonicalAddress(s string) Address { return Address{s} }

// CanonicalPattern returns the pattern that s, written by Pattern.String, is;
// see CanonicalAddress.
func CanonicalPattern(s string) Pattern { return Pattern{s} }
