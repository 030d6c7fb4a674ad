// Package tlspolicy holds what connections between clients and servers, and
// between sites, demand of TLS.
package tlspolicy

import "crypto/tls"

// MinVersion is the oldest version of TLS that SIMP allows.
const MinVersion = tls.VersionTLS12

// CipherSuites returns the suites of TLS 1.2 that SIMP allows: those with
// forward secrecy and authenticated encryption. All suites of TLS 1.3 have
// both.
func CipherSuites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}
