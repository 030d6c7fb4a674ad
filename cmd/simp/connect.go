package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/dns"
	"simpd/protocol/secretfile"
)

// connect logs the user in. change, if not nil, sets what the program wants to
// be told.
func (a *app) connect(ctx context.Context, change func(*client.Config)) (*client.Client, error) {
	config, err := a.loginConfig(ctx)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(&config)
	}
	return client.Open(ctx, config)
}

// withClient connects, does something, and hangs up.
func (a *app) withClient(ctx context.Context, do func(*client.Client) error) error {
	c, err := a.connect(ctx, nil)
	if err != nil {
		return err
	}
	defer hangUp(c)
	return do(c)
}

// hangUp ends in order, also after an interrupt.
func hangUp(c *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// baseConfig returns the configuration of a client without a password: that
// comes last, so that nobody is asked for it in vain.
func (a *app) baseConfig() (client.Config, error) {
	config := client.Config{Server: a.server, Agent: "simp", Dial: a.dial}
	if a.server != "" && !cli.IsHostPort(a.server) {
		return config, cli.UsageErrorf("invalid --server %q: must be HOST:PORT, such as chat.example.com:7468", a.server)
	}
	if a.dns != "" && !cli.IsHostPort(a.dns) {
		return config, cli.UsageErrorf("invalid --dns %q: must be HOST:PORT, such as 192.0.2.53:53", a.dns)
	}
	if a.user == "" {
		return config, cli.UsageErrorf("--user is missing: give your address, such as alice@example.com")
	}
	user, err := parseAddress(a.user)
	if err != nil {
		return config, err
	}
	config.User = user
	if config.TLS, err = a.trustedRoots(); err != nil {
		return config, err
	}
	if a.dns != "" {
		a.resolveBy(&config)
	}
	switch {
	case a.plaintext:
		config.Security = client.Plaintext
	case a.tls:
		config.Security = client.TLS
	}
	return config, nil
}

// resolveBy has the server found by the resolver that the user has named. Who
// does that means what it says, also where that is on this network.
func (a *app) resolveBy(config *client.Config) {
	config.Resolver, config.AllowPrivate = dns.NewServer(a.dns), true
}

// trustedRoots returns the authorities to trust beside the system's.
func (a *app) trustedRoots() (*tls.Config, error) {
	if a.tlsCA == "" {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if err := secretfile.AppendRoots(roots, a.tlsCA); err != nil {
		return nil, fmt.Errorf("--tls-ca: %w", err)
	}
	return &tls.Config{RootCAs: roots}, nil
}

// readPassword takes the password from where the user has put it, or asks.
func (a *app) readPassword(ctx context.Context) (string, error) {
	if a.keptPassword {
		if err := secretfile.Check(a.passwordFile); err != nil {
			return "", fmt.Errorf("password_file in %s: %w", a.configFile, err)
		}
	}
	if a.passwordFile != "" {
		return a.readPasswordFile("--password-file", a.passwordFile)
	}
	if password := a.env("SIMP_PASSWORD"); password != "" {
		return password, nil
	}
	return a.askSecret(ctx, fmt.Sprintf("Password for %s: ", a.user))
}

// readPasswordFile returns the first line of a file; - is standard input.
func (a *app) readPasswordFile(flag, path string) (string, error) {
	var r io.Reader = a.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", flag, err)
		}
		defer f.Close()
		r = f
	}
	line, err := bufio.NewReader(io.LimitReader(r, int64(protocol.MaxTypedPassword+len("\r\n")+1))).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("%s: %s contains no password", flag, path)
	}
	return line, nil
}

func (a *app) askSecret(ctx context.Context, prompt string) (string, error) {
	password, err := a.term.ask(ctx, prompt)
	if errors.Is(err, errNoTerminal) {
		return "", cli.UsageErrorf("there is no terminal to ask for the password; use --password-file or SIMP_PASSWORD")
	}
	if err == nil && password == "" {
		err = errors.New("the password is empty")
	}
	return password, err
}

// parseAddress reads an address that the user has typed.
func parseAddress(s string) (protocol.Address, error) {
	a, err := protocol.ParseAddress(s)
	return a, withoutStatus(err)
}

// withoutStatus leaves the wire's status out of an error.
func withoutStatus(err error) error {
	var bad *protocol.Error
	if errors.As(err, &bad) {
		return cli.UsageErrorf("%s", bad.Text)
	}
	return err
}

// parseAddresses reads a list of addresses with commas between them.
func parseAddresses(lists ...string) ([]protocol.Address, error) {
	var all []protocol.Address
	for _, list := range lists {
		for _, one := range splitList(list) {
			address, err := parseAddress(strings.TrimSpace(one))
			if err != nil {
				return nil, err
			}
			all = append(all, address)
		}
	}
	return all, nil
}

// splitList cuts a list at its commas, but for those in quotes.
func splitList(s string) (parts []string) {
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
