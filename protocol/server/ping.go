package server

import "simpd/protocol"

// ping is answered at once, whatever is outstanding.
func (s *session) ping(r *request) {
	s.reply(r.line.Tag, protocol.AppendEnd(response(r, protocol.StatusOK)))
}
