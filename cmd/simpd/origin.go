package main

import (
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"

	"simpd/protocol"
)

// setOrigins takes the origins whose pages may open a WebSocket, in the form in
// which browsers send them.
func setOrigins(c *config, values []string) error {
	c.origins = make([]string, 0, len(values))
	for _, v := range values {
		origin, err := parseOrigin(v)
		if err != nil {
			return err
		}
		c.origins = append(c.origins, origin)
	}
	return nil
}

// parseOrigin returns an origin as browsers write it (RFC 6454, section 6.2):
// [SCHEME://]HOST[:PORT], the host in small letters and A-labels, without the
// scheme's default port, and without the slash that people add. The host may
// hold the wildcards of path.Match.
func parseOrigin(s string) (string, error) {
	scheme, rest, hasScheme := strings.Cut(s, "://")
	if !hasScheme {
		scheme, rest = "", s
	}
	scheme = strings.ToLower(scheme)
	if hasScheme && scheme != "https" && scheme != "http" {
		return "", badOrigin(s, "the scheme must be https or http")
	}
	rest = strings.TrimSuffix(rest, "/")
	if strings.ContainsAny(rest, "/#@ ") {
		return "", badOrigin(s, "it must not have a path or a user")
	}
	host, port := rest, ""
	if h, p, err := net.SplitHostPort(rest); err == nil {
		host, port = h, p
	}
	host, err := originHost(host)
	if err != nil {
		return "", badOrigin(s, err.Error())
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && !strings.ContainsAny(port, "*?[\\") && (err != nil || n == 0) {
		return "", badOrigin(s, "the port must be a number up to 65535")
	}
	if port != "" && !(scheme == "https" && port == "443" || scheme == "http" && port == "80") {
		host += ":" + port
	}
	if !hasScheme {
		return host, nil
	}
	return scheme + "://" + host, nil
}

// originHost returns a host, or a pattern of hosts, in canonical form.
func originHost(host string) (string, error) {
	if strings.ContainsAny(host, "*?[\\") {
		if _, err := path.Match(host, ""); err != nil {
			return "", err
		}
		return strings.ToLower(host), nil
	}
	if strings.Contains(host, ":") { // IPv6
		return "[" + host + "]", nil
	}
	return protocol.ParseDomain(host)
}

func badOrigin(s, why string) error {
	return fmt.Errorf("invalid origin %q: %s; it must look like https://chat.example.com", s, why)
}
