package federation

// Limits is what a test bounds a Relay by.
type Limits = limits

// DefaultLimits is what New bounds it by.
var DefaultLimits = defaultLimits

// NewLimited returns a Relay with other limits than New.
func NewLimited(c Config, l Limits) *Relay { return newRelay(c.withDefaults(), l) }
