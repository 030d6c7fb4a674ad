package main

import (
	"time"

	"simpd/cmd/testkit/wire"
	"simpd/protocol"
)

type (
	conn  = wire.Conn
	clock = wire.Clock
)

// dial opens a connection, logs the user in, and has the history told what
// becomes of it.
func (l *lab) dial(node int, user string, heard func(*protocol.Line, []byte, time.Duration)) (*conn, error) {
	n := l.site.Nodes[node-1]
	c := wire.Config{
		Address: n.SIMPS, TLS: l.trust, Clock: l.clock, Number: int(l.conns.Add(1)), Node: node,
		OnEnd: l.history.part, OnSlow: l.history.tardy, OnRequest: heard,
	}
	if l.site.Insecure {
		c.Address = n.SIMP
	}
	return wire.Login(c, "lab", l.address(user), l.site.Password)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
