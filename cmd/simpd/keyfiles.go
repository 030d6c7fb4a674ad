package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"simpd/cluster/api"
	"simpd/cluster/link/pki"
	"simpd/protocol/server"
)

// keyFiles are what the files hold that the configuration names.
type keyFiles struct {
	certificates *server.Certificates // nil: clients are offered no TLS
	tokens       *api.Tokens          // nil: programs have none
	identity     *pki.Identity        // nil: insecure
	gossipKeys   [][]byte             // likewise
}

// fileError is what is wrong with a file that an option names.
type fileError struct {
	option string
	error
}

func (e fileError) Unwrap() error { return e.error }

// readFiles reads every file that the configuration names. check-config and a
// start both do it here, so that they agree; SIGHUP has the same functions read
// them again.
func (c *config) readFiles() (f keyFiles, wrong []fileError) {
	check := func(option string, err error) {
		if err != nil {
			wrong = append(wrong, fileError{option, err})
		}
	}
	var err error
	if len(c.tlsCerts) > 0 && len(c.tlsCerts) == len(c.tlsKeys) {
		f.certificates, err = server.LoadCertificates(c.tlsCerts, c.tlsKeys)
		if err == nil {
			err = checkClock(f.certificates.Leaves())
		}
		check("tls-cert", err)
	}
	if c.tokens != "" {
		f.tokens, err = api.LoadTokens(c.tokens)
		check("token-file", err)
	}
	_, err = c.federation.readRoots()
	check("federation-ca", err)
	if c.insecure {
		return f, wrong
	}
	if c.clusterCA != "" && c.clusterCert != "" && c.clusterKey != "" {
		f.identity, err = pki.Load(c.clusterCA, c.clusterCert, c.clusterKey)
		check("cluster-cert", explainClock(err, c.clusterCert))
	}
	if c.gossipKeys != "" {
		f.gossipKeys, err = pki.ReadGossipKeys(c.gossipKeys)
		check("gossip-key-file", err)
	}
	return f, wrong
}

// notYetValidError says that a certificate becomes valid later. It may be the
// clock that is wrong: that of a machine without a battery begins in 1970.
type notYetValidError struct {
	file     string
	from, at time.Time
}

func (e notYetValidError) Error() string {
	return fmt.Sprintf("%s is not valid before %s, and the clock of this machine says %s",
		e.file, e.from.UTC().Format(time.RFC3339), e.at.UTC().Format(time.RFC3339))
}

// explainClock makes a notYetValidError of an error that is one.
func explainClock(err error, file string) error {
	now := time.Now()
	e, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok || e.Reason != x509.Expired || !now.Before(e.Cert.NotBefore) {
		return err
	}
	return notYetValidError{file, e.Cert.NotBefore, now}
}

// checkClock returns a notYetValidError if none of the certificates is valid
// yet. One that is for later, beside another, may be there.
func checkClock(all []server.Leaf) error {
	now := time.Now()
	first := slices.MinFunc(all, func(a, b server.Leaf) int { return a.NotBefore.Compare(b.NotBefore) })
	if !now.Before(first.NotBefore) {
		return nil
	}
	return notYetValidError{first.File, first.NotBefore, now}
}

// expiresSoon is how long before its end a certificate should have been
// renewed. One that is made for a few days is renewed later: when a third of
// its time is left.
const expiresSoon = 14 * 24 * time.Hour

// certificateWarnings says what is not as it should be with the certificates that clients
// are shown, though a node can do with it.
func certificateWarnings(shown *server.Certificates, domains []string, now time.Time) (all []string) {
	if shown == nil {
		return nil
	}
	named := map[string]bool{}
	for _, leaf := range shown.Leaves() {
		file := leaf.File
		switch left := leaf.NotAfter.Sub(now); {
		case left <= 0:
			all = append(all, fmt.Sprintf("%s has expired at %s", file, leaf.NotAfter.UTC().Format(time.RFC3339)))
		case left <= min(expiresSoon, leaf.NotAfter.Sub(leaf.NotBefore)/3):
			all = append(all, fmt.Sprintf("%s expires at %s", file, leaf.NotAfter.UTC().Format(time.RFC3339)))
		}
		any := false
		for _, d := range domains {
			if leaf.VerifyHostname(d) == nil {
				named[d], any = true, true
			}
		}
		if !any {
			all = append(all, fmt.Sprintf("%s names none of the site's domains (%s)", file, strings.Join(domains, ", ")))
		}
	}
	for _, d := range domains {
		if !named[d] {
			all = append(all, fmt.Sprintf("no certificate names the domain %s", d))
		}
	}
	return all
}

// logWarnings writes what works, and should be looked at.
func logWarnings(to *slog.Logger, all []string) {
	for _, text := range all {
		to.Warn("something will need the operator", "warning", text)
	}
}
