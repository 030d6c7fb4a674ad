package acmecert

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/acme"
)

// authority is the certificate authority, and this site's account there.
type authority struct {
	client *acme.Client // nil: not looked up yet
}

// userAgent names the program to the authority (RFC 8555, section 6.1).
const userAgent = "simpd"

const accountName = "acme/account"

// accountRecord is the value of accountName.
type accountRecord struct {
	Directory string `json:"directory"`
	Key       []byte `json:"key"` // PKCS #8

	Made time.Time `json:"made"`
}

// accountUntil is when an account that nobody uses may be dropped: never.
var accountUntil = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// connect returns a client with the site's account, which is registered if the
// authority does not know it. All nodes share the account.
func (m *Manager) connect(ctx context.Context) (*acme.Client, error) {
	key, err := m.accountKey(ctx)
	if err != nil {
		return nil, err
	}
	if c := m.authority.client; c != nil && c.Key.(*ecdsa.PrivateKey).Equal(key) {
		return c, nil
	}
	client := &acme.Client{Key: key, DirectoryURL: m.config.Directory, HTTPClient: m.config.HTTP, UserAgent: userAgent}
	account := &acme.Account{}
	if m.config.Email != "" {
		account.Contact = []string{"mailto:" + m.config.Email}
	}
	_, err = client.Register(ctx, account, acme.AcceptTOS)
	if errors.Is(err, acme.ErrAccountAlreadyExists) {
		_, err = client.GetReg(ctx, "")
	}
	if err != nil {
		return nil, fmt.Errorf("registering at the authority: %w", err)
	}
	m.authority.client = client
	return client, nil
}

// accountKey returns the key of the site's account. A new one is shared by all
// nodes before it is used, so that the account is not lost with this node.
func (m *Manager) accountKey(ctx context.Context) (crypto.Signer, error) {
	var r accountRecord
	if value := m.config.Secrets.Get(accountName); value != nil && json.Unmarshal(value, &r) == nil &&
		r.Directory == m.config.Directory && !r.Made.Before(m.config.ReissueBefore) {
		if key, err := parseKey(r.Key); err == nil {
			return key, nil
		}
	}
	key, der, err := newKey()
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(accountRecord{Directory: m.config.Directory, Key: der, Made: time.Now()})
	if err != nil {
		return nil, err
	}
	return key, m.config.Secrets.Put(ctx, accountName, value, accountUntil)
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return key, der, err
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T", key)
	}
	return private, nil
}

// obtain orders a certificate for a domain, proves that the site controls it,
// and shares the certificate with all nodes.
func (m *Manager) obtain(ctx context.Context, domain string) error {
	client, err := m.connect(ctx)
	if err != nil {
		return err
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(domain))
	if err != nil {
		m.authority.client = nil // the account may be gone
		return fmt.Errorf("ordering: %w", err)
	}
	for _, url := range order.AuthzURLs {
		if err := m.authorize(ctx, client, domain, url); err != nil {
			return err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return fmt.Errorf("waiting for the order: %w", err)
	}
	key, der, err := newKey()
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{domain}}, key)
	if err != nil {
		return err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return fmt.Errorf("having the certificate signed: %w", err)
	}
	return m.save(ctx, domain, certificateRecord{Directory: m.config.Directory, Chain: chain, Key: der, Made: time.Now()})
}

// authorize proves that the site controls the domain of an authorization.
func (m *Manager) authorize(ctx context.Context, client *acme.Client, domain, url string) error {
	z, err := client.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("asking for the challenge: %w", err)
	}
	if z.Status == acme.StatusValid {
		return nil // proved a short time ago
	}
	var chosen *acme.Challenge
	for _, c := range z.Challenges {
		if c.Type == string(m.config.Challenge) {
			chosen = c
		}
	}
	if chosen == nil {
		return fmt.Errorf("the authority does not offer the challenge %s", m.config.Challenge)
	}
	name, err := m.answer(ctx, client, domain, chosen.Token)
	if err != nil {
		return fmt.Errorf("preparing the answer to the challenge: %w", err)
	}
	defer m.dropAnswer(ctx, name)
	if _, err := client.Accept(ctx, chosen); err != nil {
		return fmt.Errorf("accepting the challenge: %w", err)
	}
	if _, err := client.WaitAuthorization(ctx, z.URI); err != nil {
		return fmt.Errorf("the authority could not check that this site controls %s: %w", domain, describe(err))
	}
	return nil
}

// describe returns the problems that the authority has found, without the
// URLs that acme.AuthorizationError adds.
func describe(err error) error {
	failed, ok := errors.AsType[*acme.AuthorizationError](err)
	if !ok || len(failed.Errors) == 0 {
		return err
	}
	return errors.Join(failed.Errors...)
}

// retryAfter returns how long the authority has asked to wait.
func retryAfter(err error) time.Duration {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if pause, ok := acme.RateLimit(e); ok {
			return pause
		}
	}
	return 0
}
