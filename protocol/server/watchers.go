package server

import (
	"context"

	"simpd/protocol"
)

// watchers tells who watches the user now (SIMP.md, section 7).
func (s *session) watchers(ctx context.Context, r *request) {
	by, partial, err := s.user.Watchers(ctx)
	if err != nil {
		s.refuse(r, err)
		return
	}
	var b []byte
	for _, a := range by {
		b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusPartial)
		b = protocol.AppendEnd(protocol.AppendParam(b, "ima", a.String()))
	}
	b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusOK)
	if partial {
		b = protocol.AppendParam(b, "partial", "yes")
	}
	s.answer(r, b)
}
