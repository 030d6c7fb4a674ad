package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"simpd/cluster"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol/server"
)

const (
	expiryNotice = 30 * 24 * time.Hour // before its end a certificate is spoken of
	expiryRound  = 24 * time.Hour      // how often the log does
	maxListed    = 32                  // entries of each list of a node's status
)

// The kinds of what ends.
const (
	expiryNode         = "node"
	expiryClusterCA    = "cluster_ca"
	expirySite         = "site"
	expirySiteCA       = "site_ca"
	expiryObtained     = "acme"
	expiryFederationCA = "federation_ca"
	expiryProgram      = "program"
	expiryToken        = "token"
)

// expiry records when a certificate or a token expires.
type expiry struct {
	kind, name string
	id         string    // a certificate's serial number, or the beginning of a token's hash
	begin      time.Time // zero for a token
	end        time.Time
}

// needsAttention reports whether e ends soon, has ended, or has not begun. What
// ACME has obtained is renewed when a third of its lifetime is left, so that
// only a sixth is soon.
func (e *expiry) needsAttention(now time.Time) bool {
	notice := expiryNotice
	if e.kind == expiryObtained {
		notice = min(notice, e.end.Sub(e.begin)/6)
	}
	return now.Add(notice).After(e.end) || now.Before(e.begin)
}

// certificateName returns whom a certificate names, for people.
func certificateName(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return abbreviateNames(c.DNSNames)
	}
	return cmp.Or(c.Subject.CommonName, c.Subject.String())
}

// abbreviateNames returns the first of some names, and how many more there are.
func abbreviateNames(names []string) string {
	if more := len(names) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", names[0], more)
	}
	return names[0]
}

// expiries lists what the files hold that ends: certificates, authorities and
// tokens. others are the authorities of other sites; nodeID and domains are the
// node's. None is listed twice.
func (f *keyFiles) expiries(nodeID string, domains []string, others []*x509.Certificate) (all expiries) {
	if f.identity != nil {
		all.add(expiryNode, nodeID, f.identity.Certificate())
		all.addAuthorities(expiryClusterCA, f.identity.Authorities())
	}
	for _, leaf := range f.clientLeaves() {
		name := certificateName(leaf.Certificate)
		if covered := coveredDomains(leaf.Certificate, domains); len(covered) > 0 {
			name = abbreviateNames(covered)
		}
		if leaf.IsObtained {
			all.add(expiryObtained, name, leaf.Certificate)
			continue // its authorities come with each new one
		}
		all.add(expirySite, name, leaf.Certificate)
		all.addAuthorities(expirySiteCA, leaf.Authorities)
	}
	all.addAuthorities(expiryFederationCA, others)
	if f.tokens != nil {
		for _, t := range f.tokens.Ends() {
			all = append(all, expiry{kind: expiryToken, name: validText(t.Name), id: t.Hash, end: t.End})
		}
	}
	return all
}

// expiries is a list of what ends.
type expiries []expiry

func (l *expiries) add(kind, name string, c *x509.Certificate) {
	e := expiry{kind, validText(name), c.SerialNumber.Text(16), c.NotBefore, c.NotAfter}
	if !slices.ContainsFunc(*l, func(o expiry) bool { return o.kind == e.kind && o.name == e.name && o.id == e.id }) {
		*l = append(*l, e)
	}
}

func (l *expiries) addAuthorities(kind string, authorities []*x509.Certificate) {
	for _, c := range authorities {
		l.add(kind, certificateName(c), c)
	}
}

// needingAttention returns those that need attention now, the first to end first.
func (l expiries) needingAttention(now time.Time) expiries {
	of := slices.DeleteFunc(slices.Clone(l), func(e expiry) bool { return !e.needsAttention(now) })
	slices.SortStableFunc(of, func(a, b expiry) int { return a.end.Compare(b.end) })
	return of
}

// validText makes a text one that metrics and messages can hold.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// clientLeaves returns the certificates for clients.
func (f *keyFiles) clientLeaves() []server.Leaf {
	if f.certificates == nil {
		return nil
	}
	return f.certificates.Leaves()
}

// allExpiries lists all that ends at this node: what its files hold, and the
// certificates that programs have shown.
func (n *node) allExpiries() expiries {
	var others []*x509.Certificate
	if n.partners != nil {
		others = *n.partners.authorities.Load()
	}
	all := n.keyFiles.expiries(n.conf.nodeID, n.conf.domains, others)
	if programs := n.programs.Load(); programs != nil {
		for _, p := range programs.ProgramCertificates() {
			all.add(expiryProgram, p.Program, p.Certificate)
		}
	}
	return all
}

// coveredDomains returns those of the domains that a certificate names.
func coveredDomains(c *x509.Certificate, domains []string) []string {
	return slices.DeleteFunc(slices.Clone(domains), func(d string) bool { return c.VerifyHostname(d) != nil })
}

// compareDomains compares the certificates for clients with the domains of the site:
// uncovered are the domains that none of them names, foreign the certificates
// that name none. Without certificates both are empty.
func (f *keyFiles) compareDomains(domains []string) (uncovered []string, foreign []server.Leaf) {
	leaves := f.clientLeaves()
	if len(leaves) == 0 {
		return nil, nil
	}
	covered := map[string]bool{}
	for _, leaf := range leaves {
		named := coveredDomains(leaf.Certificate, domains)
		for _, d := range named {
			covered[d] = true
		}
		if len(named) == 0 && !leaf.IsObtained {
			foreign = append(foreign, leaf)
		}
	}
	return slices.DeleteFunc(slices.Clone(domains), func(d string) bool { return covered[d] }), foreign
}

// certificateStatus returns what the other nodes, and so operators, are told.
func (n *node) certificateStatus() (s cluster.CertificateStatus) {
	for _, e := range firstOf(n.allExpiries().needingAttention(time.Now())) {
		told := &clusterv1.Expiry{Kind: e.kind, Name: e.name, Id: e.id, EndMs: e.end.UnixMilli()}
		if !e.begin.IsZero() {
			told.BeginMs = e.begin.UnixMilli()
		}
		s.Expiring = append(s.Expiring, told)
	}
	uncovered, foreign := n.compareDomains(n.conf.domains)
	s.UncoveredDomains = firstOf(uncovered)
	for _, leaf := range firstOf(foreign) {
		s.ForeignCertificates = append(s.ForeignCertificates, validText(certificateName(leaf.Certificate)))
	}
	return s
}

// firstOf cuts a list down to what a status or the log names.
func firstOf[S ~[]E, E any](list S) S { return list[:min(len(list), maxListed)] }

// logCertificates writes what is wrong with the node's certificates and tokens
// into the log, now and every day until ctx ends.
func (n *node) logCertificates(ctx context.Context) {
	tick := time.NewTicker(expiryRound)
	defer tick.Stop()
	for {
		n.reviewCertificates()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// reviewCertificates writes what is wrong with certificates and tokens into the
// log.
func (n *node) reviewCertificates() {
	logExpiries(n.logger, n.allExpiries(), time.Now())
	uncovered, foreign := n.compareDomains(n.conf.domains)
	if len(uncovered) > 0 {
		n.logger.Warn("no certificate names these domains of the site", "domains", firstOf(uncovered), "count", len(uncovered))
	}
	for _, leaf := range firstOf(foreign) {
		n.logger.Warn("certificate names no domain of the site", "names", certificateName(leaf.Certificate), "file", leaf.File)
	}
}

// logExpiries writes a line for each of the first that need attention, and one
// that counts the others.
func logExpiries(logger *slog.Logger, all expiries, now time.Time) {
	urgent := all.needingAttention(now)
	for _, e := range firstOf(urgent) {
		level, message := e.describe(now)
		logger.Log(context.Background(), level, message, "kind", e.kind, "name", e.name, "id", e.id,
			"ends", e.end.UTC().Format(time.RFC3339), "days_left", int(e.end.Sub(now)/(24*time.Hour)))
	}
	if more := len(urgent) - maxListed; more > 0 {
		logger.Warn("more certificates or tokens end soon", "count", more)
	}
}

// describe says what is to be said of an expiry that needs attention.
func (e *expiry) describe(now time.Time) (slog.Level, string) {
	what := "certificate"
	if e.kind == expiryToken {
		what = "token"
	}
	switch {
	case !now.Before(e.end):
		return slog.LevelError, what + " has ended"
	case now.Before(e.begin):
		return slog.LevelError, what + " is not valid yet"
	}
	return slog.LevelWarn, what + " ends soon"
}

// certificateWarnings says for check-config what is wrong with certificates and
// tokens, though a node can start with them.
func (f *keyFiles) certificateWarnings(nodeID string, domains []string, now time.Time) (all []string) {
	for _, e := range f.expiries(nodeID, domains, f.authorities).needingAttention(now) {
		_, message := e.describe(now)
		all = append(all, fmt.Sprintf("%s: %s %s, until %s", message, e.kind, e.name, e.end.UTC().Format(time.RFC3339)))
	}
	uncovered, foreign := f.compareDomains(domains)
	for _, leaf := range foreign {
		all = append(all, fmt.Sprintf("%s names none of the site's domains (%s)", leaf.File, strings.Join(domains, ", ")))
	}
	for _, d := range uncovered {
		all = append(all, "no certificate names the domain "+d)
	}
	return all
}
