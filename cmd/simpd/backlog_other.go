//go:build !unix

package main

import "net"

// raiseBacklog leaves it to the net package.
func raiseBacklog(net.Listener) error { return nil }
