// Package outbound opens connections to SIMP servers. It finds the servers of a
// domain, connects to the first that answers, begins TLS with a certificate
// that has to be valid for the domain, and exchanges HELLO. Who logs in on the
// connection, and how, its users decide: package client for a user, package
// federation for a site.
package outbound
