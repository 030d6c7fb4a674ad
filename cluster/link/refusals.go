package link

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Why a connection is not held.
var (
	errRevoked  = errors.New("its certificate was revoked when the node was removed: give the node a new one")
	errRemoved  = errors.New("the node was removed from the site: to let it join again, simpctl node admit its id")
	errNoMember = errors.New("the node is not part of the site")
	errRejected = errors.New("another process runs as the node, or has run on newer data")
	errTooMany  = errors.New("too many connections wait: the oldest of who has most makes room")
)

// refusalInterval is how often one cause of refusals is logged.
const refusalInterval = time.Minute

// refusals logs connections that are refused: one line a minute for each cause,
// with how many there were. Whoever connects a thousand times a second fills
// no log.
type refusals struct {
	what   string
	logger *slog.Logger

	mu     sync.Mutex
	causes map[error]*refusal
}

type refusal struct {
	logged time.Time
	count  int // since then
}

// errHandshake stands for all causes that are no others.
var errHandshake = errors.New("the handshake failed")

func causeOf(err error) error {
	for _, cause := range []error{errRevoked, errRemoved, errNoMember, errRejected, errTooMany, errTooLong, errNotAllowed, errNoGossip} {
		if errors.Is(err, cause) {
			return cause
		}
	}
	return errHandshake
}

// add counts a refusal and logs it, unless its cause was logged just now.
func (r *refusals) add(remote net.Addr, node string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.causes == nil {
		r.causes = map[error]*refusal{}
	}
	c := r.causes[causeOf(err)]
	if c == nil {
		c = &refusal{}
		r.causes[causeOf(err)] = c
	}
	c.count++
	if time.Since(c.logged) < refusalInterval {
		return
	}
	args := []any{"remote", remote, "error", err, "count", c.count}
	if node != "" {
		args = append(args, "node", node)
	}
	r.logger.Warn(r.what, args...)
	c.logged, c.count = time.Now(), 0
}
