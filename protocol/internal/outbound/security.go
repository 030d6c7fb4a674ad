package outbound

// Security is how a connection is protected.
type Security uint8

// The kinds of security. AutoTLS uses TLS from the first
// octet on port 7468 and STARTTLS on other ports; for a server found by DNS,
// its record decides.
const (
	AutoTLS   Security = iota
	StartTLS           // the connection begins in plaintext, and fails if TLS is missing or refused
	TLS                // TLS from the first octet
	Plaintext          // no TLS; only on loopback
)
