package api

import (
	"context"
	"slices"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

// CheckDomain explains what becomes of a connection to another site.
func (s *clusterService) CheckDomain(ctx context.Context, r *simpv1.CheckDomainRequest) (*simpv1.CheckDomainResponse, error) {
	f := &fields{}
	own, domain := s.Domains[0], f.foreignDomain("domain", r.Domain)
	if r.Own != "" {
		own = f.foreignDomain("own", r.Own)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	if !slices.Contains(s.Domains, own) {
		f.addViolation("own", "%s is not a domain of this site", own)
	}
	if slices.Contains(s.Domains, domain) {
		f.addViolation("domain", "%s is this site's own; nothing has to be reached", domain)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	return s.Cluster.CheckDomain(ctx, own, domain)
}

// foreignDomain reads a domain, in any spelling.
func (f *fields) foreignDomain(name, value string) string {
	domain, err := protocol.ParseDomain(value)
	if err != nil {
		f.addViolation(name, "%s", textWithoutStatus(err))
	}
	return domain
}
