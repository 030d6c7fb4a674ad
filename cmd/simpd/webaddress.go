package main

import (
	"fmt"
	"net/url"
	"strings"
)

// setWebAddress takes the address of the web chat: a URL of a host.
func setWebAddress(c *config, v []string) (err error) {
	c.webAddress, err = parseBaseURL(v[0], "https://chat.example.com")
	return err
}

// parseBaseURL returns a URL of a host, without a slash at its end.
func parseBaseURL(s, like string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("invalid address %q: must look like %s", s, like)
	}
	return u.Scheme + "://" + u.Host, nil
}

// webHost returns the host of the configured address of the web chat; "" if
// there is none.
func (c *config) webHost() string {
	u, err := url.Parse(c.webAddress)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// webAddress returns the address at which people reach the web chat; "" if it
// is not known. A web chat on loopback is reached from this machine, at the
// address that it listens at.
func (n *node) webAddress() string {
	l := n.sockets["ws-listen"]
	switch {
	case n.conf.webAddress != "":
		return n.conf.webAddress
	case l == nil || !n.conf.webChat || !isLoopback(n.conf.ws):
		return ""
	case n.certificates != nil:
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}
