package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"simpd/protocol"
)

// setHTTPHosts takes names that may stand in the Host of an HTTP request.
func setHTTPHosts(c *config, values []string) error {
	c.httpHosts = make([]string, 0, len(values))
	for _, v := range values {
		name, err := parseHostName(v)
		if err != nil {
			return fmt.Errorf("invalid host name %q: %w", v, err)
		}
		c.httpHosts = append(c.httpHosts, name)
	}
	return nil
}

// parseHostName returns a host name as clients send it: in lower case and
// A-labels. Underscores are allowed, as names of containers have them.
func parseHostName(s string) (string, error) {
	name := strings.TrimSuffix(s, ".")
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "", fmt.Errorf("IP addresses are always allowed; only names are listed here")
	}
	if strings.ContainsAny(name, ":/*") {
		return "", fmt.Errorf("it must be a name alone, without scheme, port, path or wildcard, like metrics.example.net")
	}
	if strings.Contains(name, "_") {
		_, err := protocol.ParseDomain(strings.ReplaceAll(name, "_", "x"))
		return strings.ToLower(name), err
	}
	return protocol.ParseDomain(name)
}

// hostNames returns the names by which HTTP requests may call this node,
// besides IP addresses and localhost: those configured for it, those that it
// tells others, and those that it listens at.
func (c *config) hostNames() []string {
	names := append([]string{c.advertise}, c.httpHosts...)
	if host := c.webHost(); host != "" {
		names = append(names, host)
	}
	for _, address := range []string{c.advertiseClient, c.advertiseClientTLS, c.http, c.ws, c.pprof, c.scim} {
		if host, _, err := net.SplitHostPort(address); err == nil {
			names = append(names, host)
		}
	}
	return names
}
