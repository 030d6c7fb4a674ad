// Package server holds the conversations of SIMP 1.0 with a site's clients
// (protocol/SIMP.md): it reads their requests, asks the site, which it knows
// as a Backend, and writes answers, messages and presence.
//
// The one idea: a client costs what it makes the server hold for it, within
// a budget, and nobody else anything. On Linux a few loops wait for the octets
// of all TCP connections; elsewhere, and for WebSockets, each connection is a
// goroutine that does. Nothing that is written to one client ever makes
// another wait; nothing is held for a connection at which nothing happens.
//
// It decides nothing about who listens, who may, and where a message goes.
package server
