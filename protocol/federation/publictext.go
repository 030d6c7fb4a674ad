package federation

import (
	"errors"
	"net"
	"strings"

	"simpd/protocol/internal/outbound"
)

// publicText returns what users and other sites may know of an error of
// connecting to a remote domain: neither this site's resolvers and addresses nor
// the hosts of its routes. Operators are told err itself.
func publicText(err error) string { return publicTextOf(err, false) }

// publicTextOf is publicText; routed is set below a target that is the
// operator's choice.
func publicTextOf(err error, routed bool) string {
	switch e := err.(type) {
	case *outbound.TargetError:
		if e.Target.FromDNS {
			return e.Target.String() + ": " + publicTextOf(e.Err, false)
		}
		return publicTextOf(e.Err, true)
	case *outbound.LookupError:
		return "looking up " + e.What + ": " + publicDNSText(e.Err, routed)
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
