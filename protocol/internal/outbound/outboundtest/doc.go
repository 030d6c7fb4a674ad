// Package outboundtest plays what outgoing connections meet: servers that speak
// SIMP, servers that speak something else, and DNS. It is for tests.
package outboundtest
