// Package netio carries octets between a server and its clients: it accepts
// connections, waits for input on all of them with a few event loops, puts TLS
// over them, and writes what is queued for each without making anybody wait.
// It does not know what the octets mean.
//
// A Network has the event loops. A Stream is a connection of any kind; Conn
// gives it a queue of output, and its Handler, which is the session above it.
package netio
