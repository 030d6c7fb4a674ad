// Package client speaks SIMP for one user: it finds the home server, opens a
// checked TLS connection, logs in, listens, sends and watches.
//
// A Client keeps its connection. When it is lost, it connects again, with
// random pauses that grow, and listens and watches as before. When the server
// asks it to go to another node (MOVE), it makes the new connection first and
// leaves the old one after, so that the user is never deaf. What it has
// accepted is remembered for five minutes, over all its connections, and not
// shown twice.
//
// It tells of a message only what is known: Report has "delivered" where a
// client of the recipient has said so, "in doubt" (201) where nobody can know,
// and everything else where nobody has it. It repeats a message only if told
// to, and then under the same id, so that it is shown once.
//
// It stores nothing, and it has no list of servers to trust but the system's
// or Config.TLS's certificates: they are checked for the domain of the user's
// address, wherever the connection leads.
package client
