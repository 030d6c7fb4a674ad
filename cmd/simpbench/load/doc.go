// Package load is the client side of simpbench: tens of thousands of clients
// driven by one goroutine, which waits for all of them at once (epoll) and does
// for each the least that a client can. So the load generator costs less than
// the server that it measures, and costs the same for whatever it speaks to.
//
// A Loop drives connections; a Client is a user on one, who speaks SIMP or the
// language of the relay, as its Dialect says. Everything but Loop.Wake
// happens on the goroutine that calls Loop.Run. It works on Linux only.
package load
