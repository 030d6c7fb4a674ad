package client

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// targetError is an error of connecting to a target. Its text, for operators,
// names the target.
type targetError struct {
	target target
	err    error
}

func (e *targetError) Error() string { return fmt.Sprintf("%s: %s", e.target, e.err) }
func (e *targetError) Unwrap() error { return e.err }

// lookupError is an error of a look-up in DNS. Its text, for operators, is all
// that the resolver says, which names the server asked.
type lookupError struct {
	what string // is looked up
	err  error
}

func (e *lookupError) Error() string { return fmt.Sprintf("looking up %s: %s", e.what, e.err) }
func (e *lookupError) Unwrap() error { return e.err }

// publicText returns what users and other sites may know of an error of
// connecting to a remote domain: neither this site's resolvers and addresses nor
// the hosts of its routes. Operators are told err itself.
func publicText(err error) string { return publicTextOf(err, false) }

// publicTextOf is publicText; routed is set below a target that is the
// operator's choice.
func publicTextOf(err error, routed bool) string {
	switch e := err.(type) {
	case *targetError:
		if e.target.fromDNS {
			return e.target.String() + ": " + publicTextOf(e.err, false)
		}
		return publicTextOf(e.err, true)
	case *lookupError:
		return "looking up " + e.what + ": " + publicDNSText(e.err, routed)
	case *net.DNSError:
		return publicDNSText(e, routed)
	case *net.OpError:
		if e.Op == "dial" {
			return "it can't be connected: " + publicTextOf(e.Err, routed)
		}
		return "the connection has failed: " + publicTextOf(e.Err, routed)
	case *net.AddrError, *net.ParseError:
		return "its address is not valid"
	case net.Error:
		if e.Timeout() && childrenOf(err) == nil {
			return "timeout"
		}
	}
	text := err.Error()
	for _, child := range childrenOf(err) {
		text = strings.Replace(text, child.Error(), publicTextOf(child, routed), 1)
	}
	return text
}

// publicDNSText returns the text of a look-up's error without the server that
// was asked, and without what the network said of it.
func publicDNSText(err error, routed bool) string {
	dns, ok := errors.AsType[*net.DNSError](err)
	network, isNetwork := errors.AsType[net.Error](err)
	switch {
	case ok && dns.IsNotFound && !routed && dns.Name != "":
		return dns.Name + ": no such host"
	case ok && dns.IsNotFound:
		return "no such host"
	case isNetwork && network.Timeout():
		return "DNS did not answer in time"
	}
	return "DNS gave no answer"
}

// childrenOf returns the errors that err wraps.
func childrenOf(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if child := e.Unwrap(); child != nil {
			return []error{child}
		}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}
