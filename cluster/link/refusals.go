package link

import (
	"errors"
	"log/slog"
	"net"
)

// Reasons for refusing a connection.
var (
	errRevoked  = errors.New("its certificate was revoked when the node was removed: give the node a new one")
	errRemoved  = errors.New("the node was removed from the site: to let it join again, simpctl node admit its id")
	errNoMember = errors.New("the node is not part of the site")
	errRejected = errors.New("another process runs as the node, or has run on newer data")
	errTooMany  = errors.New("too many connections wait: the oldest of who has most makes room")
	errSpeaker  = errors.New("a call of Raft in the name of another node than the certificate's")
)

// errHandshake stands for all other causes.
var errHandshake = errors.New("the handshake failed")

func refusalCause(err error) error {
	for _, cause := range []error{errRevoked, errRemoved, errNoMember, errRejected, errTooMany, errSpeaker, errTooLong, errNotAllowed, errNoGossip} {
		if errors.Is(err, cause) {
			return cause
		}
	}
	return errHandshake
}

// logRefusal logs a refused connection. The logger limits how often a line is
// repeated (package loglimit).
func logRefusal(l *slog.Logger, what string, remote net.Addr, node string, err error) {
	args := []any{"cause", refusalCause(err), "remote", remote, "error", err}
	if node != "" {
		args = append(args, "node", node)
	}
	l.Warn(what, args...)
}
