package api

import (
	"cmp"
	"crypto/x509"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"simpd/cluster/link/pki"
)

// Bounds of what is kept of programs' certificates.
const (
	seenPeriod = 8 * 24 * time.Hour // after the last connection: weekly jobs are remembered
	maxSeen    = 1024
)

// seenCertificates keeps the certificates of the programs that are connected, or
// were within seenPeriod, until they end. Methods may be called from any
// goroutine.
type seenCertificates struct {
	mu sync.Mutex
	of map[pki.Fingerprint]*seenCertificate
}

type seenCertificate struct {
	ProgramCertificate
	connections int
	left        time.Time // when the last of them ended
}

// noteConnected notes that a program has connected with a certificate. The function
// that it returns notes the connection's end, and is called once.
func (s *seenCertificates) noteConnected(program string, c *x509.Certificate) (disconnect func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
	key := pki.FingerprintOf(c)
	seen := s.of[key]
	if seen == nil {
		seen = &seenCertificate{ProgramCertificate: ProgramCertificate{program, c}}
		if s.of == nil {
			s.of = map[pki.Fingerprint]*seenCertificate{}
		}
		if len(s.of) < maxSeen {
			s.of[key] = seen
		}
	}
	seen.connections++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		seen.connections--
		seen.left = time.Now()
	}
}

// listSorted returns what is kept, in the order of the programs' names.
func (s *seenCertificates) listSorted() (all []ProgramCertificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
	for _, c := range s.of {
		all = append(all, c.ProgramCertificate)
	}
	slices.SortFunc(all, func(a, b ProgramCertificate) int {
		return cmp.Or(cmp.Compare(a.Program, b.Program), a.Certificate.NotAfter.Compare(b.Certificate.NotAfter))
	})
	return all
}

func (s *seenCertificates) forgetLocked() {
	now := time.Now()
	for key, c := range s.of {
		if now.After(c.Certificate.NotAfter) || c.connections == 0 && now.Sub(c.left) > seenPeriod {
			delete(s.of, key)
		}
	}
}

// ProgramCertificate is a certificate that a program has connected with.
type ProgramCertificate struct {
	Program     string
	Certificate *x509.Certificate // must not be changed
}

// ProgramCertificates returns the certificates of the programs that are
// connected, or were within the last 8 days, less those that have ended.
func (s *Server) ProgramCertificates() []ProgramCertificate { return s.gate.seen.listSorted() }

// shownCertificate returns the checked certificate of the other end, or nil.
func shownCertificate(info credentials.AuthInfo) *x509.Certificate {
	if t, ok := info.(credentials.TLSInfo); ok && len(t.State.VerifiedChains) > 0 {
		return t.State.VerifiedChains[0][0]
	}
	return nil
}
