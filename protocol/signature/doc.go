// Package signature signs and verifies messages end to end (SIMP.md, section
// 15): the keys of a user's devices, the list of them that the user's home
// server keeps, and the signature in a message's first header field.
//
// A signature is a JSON Web Signature (RFC 7515) in compact form whose payload
// is detached (RFC 7515, appendix F) and not encoded (RFC 7797), by Ed25519
// (RFC 8037). It covers the sender, the recipients, the message's id and time,
// and every octet of the entity that follows the header field.
//
// Everything here is a pure function of octets: no clock, no network, and no
// randomness but that of the key that the caller passes. All functions may be
// called by any goroutine. Addresses are canonical, as protocol.Address writes
// them.
package signature
