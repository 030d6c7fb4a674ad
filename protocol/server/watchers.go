package server

import (
	"context"

	"simpd/protocol"
)

// handleWatchers returns who watches the user (SIMP.md, section 7).
func (s *session) handleWatchers(ctx context.Context, r *request) error {
	by, partial, err := s.user.Watchers(ctx)
	if err != nil {
		return err
	}
	s.respond(r, watcherLines(r.line.Tag, by, partial))
	return nil
}

// watcherLines returns the response to WATCHERS, without its end. What
// exceeds protocol.MaxWatchersOctets is omitted and reported by partial=yes.
func watcherLines(tag string, by []protocol.Address, partial bool) (b []byte) {
	for _, a := range by {
		end := len(b)
		b = protocol.AppendResponse(b, tag, protocol.StatusPartial)
		b = protocol.AppendEnd(protocol.AppendParam(b, "ima", a.String()))
		if len(b) > protocol.MaxWatchersOctets {
			b, partial = b[:end], true
			break
		}
	}
	b = protocol.AppendResponse(b, tag, protocol.StatusOK)
	if partial {
		b = protocol.AppendParam(b, "partial", "yes")
	}
	return b
}
