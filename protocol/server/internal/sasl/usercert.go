package sasl

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"

	"simpd/protocol"
)

// Users holds the methods that EXTERNAL for users needs besides Server.
type Users interface {
	Server
	// Roots returns the authorities of users' certificates.
	Roots() *x509.CertPool
	// AcceptCertificate returns the login of a user whom a certificate has
	// proved. An error of status 401 means that the user may not log in.
	AcceptCertificate(ctx context.Context, user protocol.Address, leaf *x509.Certificate) (protocol.VerifiedLogin, error)
}

// UserExternal authenticates a user by the client's TLS certificate (SIMP.md,
// section 4).
type UserExternal struct {
	users    Users
	chain    []*x509.Certificate
	verified protocol.VerifiedLogin
}

// Identity returns the user.
func (m *UserExternal) Identity() protocol.Client {
	return protocol.Client{User: m.verified.User, Credential: m.verified.Credential, Expiry: m.verified.Expiry}
}

// Step checks the certificate.
func (m *UserExternal) Step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	user, err := m.findUser(data)
	if err != nil {
		return nil, false, err
	}
	if err := m.users.AwaitTurn(ctx, user); err != nil {
		return nil, false, err
	}
	if err := verifyUserChain(m.chain, m.users.Roots()); err != nil {
		return nil, false, m.refuse(user, "the certificate does not prove an address of this site: %v", err)
	}
	m.verified, err = m.users.AcceptCertificate(ctx, user, m.chain[0])
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.Status == protocol.StatusUnauthorized {
		return nil, false, m.refuse(user, "%s", e.Text)
	}
	return nil, err == nil, err
}

// findUser returns the user whom the certificate names, whoever has signed it.
func (m *UserExternal) findUser(data []byte) (user protocol.Address, err error) {
	addresses, err := certificateAddresses(m.chain[0])
	switch {
	case err != nil:
		return user, m.refuse(user, "the certificate can't be read: %v", err)
	case len(addresses) != 1:
		return user, m.refuse(user, "the certificate has %d addresses: it must have exactly one", len(addresses))
	}
	if user, err = m.users.ParseAddress(addresses[0]); err != nil {
		return protocol.Address{}, m.refuse(protocol.Address{}, "the certificate's address is not valid")
	}
	if len(data) > 0 {
		if named, err := m.users.ParseAddress(string(data)); err != nil || named != user {
			return user, protocol.Errorf(protocol.StatusForbidden, "the certificate is not for the address that data names")
		}
	}
	return user, m.users.CheckLimits(user)
}

func (m *UserExternal) refuse(user protocol.Address, format string, args ...any) error {
	m.users.CountFailure(user)
	return protocol.Errorf(protocol.StatusUnauthorized, format, args...)
}

// verifyUserChain returns nil if an authority of users' certificates has signed
// the chain for clients, and it is valid now.
func verifyUserChain(chain []*x509.Certificate, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return err
	}
	mailboxes, err := mailboxesOf(chain[0])
	if err != nil {
		return err
	}
	for _, verified := range chains {
		if err = checkMailboxConstraints(mailboxes, verified[1:]); err == nil {
			return nil
		}
	}
	return err
}

// The object identifiers of subject alternative names, and of addresses in
// UTF-8 (RFC 9598).
var (
	oidAltName         = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidSMTPUTF8Mailbox = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 9}
)

// otherName is an alternative name of a type that has an object identifier.
type otherName struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue // explicitly tagged
}

// certificateAddresses returns the addresses that a certificate names, as
// rfc822Name or SmtpUTF8Mailbox, each once.
func certificateAddresses(leaf *x509.Certificate) ([]string, error) {
	mailboxes, err := mailboxesOf(leaf)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(leaf.EmailAddresses, mailboxes)
	slices.Sort(all)
	return slices.Compact(all), nil
}

// mailboxesOf returns the SmtpUTF8Mailboxes of a certificate.
func mailboxesOf(leaf *x509.Certificate) (all []string, err error) {
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(oidAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 {
			return nil, errors.New("invalid subject alternative names")
		}
		for _, n := range names {
			mailbox, err := mailboxOf(n)
			if err != nil {
				return nil, err
			}
			if mailbox != "" {
				all = append(all, mailbox)
			}
		}
	}
	return all, nil
}

// mailboxOf returns the address that a name is, if it is a SmtpUTF8Mailbox.
func mailboxOf(n asn1.RawValue) (string, error) {
	if n.Class != asn1.ClassContextSpecific || n.Tag != 0 {
		return "", nil
	}
	var o otherName
	if _, err := asn1.UnmarshalWithParams(n.FullBytes, &o, "tag:0"); err != nil {
		return "", errors.New("invalid other name")
	}
	if !o.Type.Equal(oidSMTPUTF8Mailbox) {
		return "", nil
	}
	var mailbox string
	if rest, err := asn1.UnmarshalWithParams(o.Value.Bytes, &mailbox, "utf8"); err != nil || len(rest) > 0 || mailbox == "" {
		return "", errors.New("invalid SmtpUTF8Mailbox")
	}
	return mailbox, nil
}

// AnyExternal chooses, by the client's first message, whose certificate is
// checked: data is empty or an address for a user, and a domain for another
// site.
type AnyExternal struct {
	Users   Users   // nil: users can't log in by certificate
	Domains Domains // nil: other sites can't
	Chain   []*x509.Certificate
	Mechanism
}

// Step chooses, and checks the certificate.
func (m *AnyExternal) Step(ctx context.Context, data []byte) (answer []byte, done bool, err error) {
	isUser := len(data) == 0 || bytes.ContainsRune(data, '@')
	switch {
	case m.Users != nil && (isUser || m.Domains == nil):
		m.Mechanism = &UserExternal{users: m.Users, chain: m.Chain}
	case m.Domains != nil:
		m.Mechanism = NewExternal(m.Domains, m.Chain)
	default:
		return nil, false, protocol.Errorf(protocol.StatusBadRequest, "EXTERNAL is not offered here")
	}
	return m.Mechanism.Step(ctx, data)
}
