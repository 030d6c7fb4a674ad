// Package server implements the server side of SIMP 1.0 (protocol/SIMP.md):
// it reads the requests of clients, calls the site, which it knows as a
// Backend, and writes responses, messages and presence.
//
// Its main idea is that each client pays for what it makes the server hold,
// within a budget, and costs nobody else anything. On Linux a few event loops
// wait for input on all TCP connections; elsewhere, and for WebSockets, each
// connection has a goroutine. Writing to one client never makes another one
// wait, and an idle connection holds neither a goroutine nor buffers.
//
// It does not decide who listens, who may do what, and where a message goes.
package server
