// Package client speaks SIMP for one user: it finds the home server, opens a
// verified TLS connection, logs in, listens, sends and watches.
//
// A Client maintains its connection. When the connection is lost, the client
// reconnects after random pauses that grow, and restores listening and
// watches. When the server asks it to move to another node (MOVE), it makes
// the new connection before it leaves the old one, so that the user is never
// deaf. It remembers accepted messages for five minutes, over all its
// connections, and does not show one twice.
//
// It reports about a message only what is known: a Report says "delivered" if
// a client of the recipient has said so, "in doubt" (201) if nobody can know,
// and another status if nobody received it. It repeats a message only if told
// to, under the same ID, so that it is shown once.
//
// It stores nothing, and trusts only the system's certificates or those in
// Config.TLS, which are checked for the domain of the user's address,
// wherever the connection leads.
package client
