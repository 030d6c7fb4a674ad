package api

import (
	"google.golang.org/grpc/codes"

	"simpd/protocol/fairslots"
)

// Turns returns the slots of TLS handshakes that compute.
func (s *Server) Turns() *fairslots.Slots { return s.connections.turns }

// ReasonCodes returns the reasons, and the codes that each comes with.
func ReasonCodes() map[string][]codes.Code {
	all := map[string][]codes.Code{}
	for r, of := range reasonCodes {
		all[string(r)] = of
	}
	return all
}

// Methods returns the paths of all methods.
func Methods() (paths []string) {
	for path := range methodTable() {
		paths = append(paths, path)
	}
	return paths
}
