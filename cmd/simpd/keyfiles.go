package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"simpd/cluster/api"
	"simpd/cluster/link/pki"
	"simpd/protocol/secretfile"
	"simpd/protocol/server"
)

// keyFiles holds the contents of the files that the configuration names.
type keyFiles struct {
	certificates *server.Certificates // nil: clients are offered no TLS
	tokens       *api.Tokens          // nil: programs have none
	identity     *pki.Identity        // nil: insecure
	gossipKeys   [][]byte             // likewise
	authorities  []*x509.Certificate  // of other sites; none: the system's

	userAuthorities []*x509.Certificate // of users; none: no user has a certificate
	acmeRoots       *x509.CertPool      // of the directory of ACME; nil: the system's
}

// fileError describes a problem with a file that an option names.
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
	if f.certificates == nil && len(c.tlsCerts) == 0 && len(c.acme.domains) > 0 {
		f.certificates = server.NewCertificates() // which ACME adds to
	}
	if c.acme.authority != "" {
		f.acmeRoots, err = secretfile.LoadRoots(c.acme.authority)
		check("acme-ca", err)
	}
	if c.tokens != "" {
		f.tokens, err = api.LoadTokens(c.tokens)
		check("token-file", err)
	}
	f.authorities, _, err = c.federation.readRoots()
	check("federation-ca", err)
	if c.userCA != "" {
		f.userAuthorities, err = secretfile.LoadAuthorities(c.userCA)
		check("user-ca", err)
	}
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
