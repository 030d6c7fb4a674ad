package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"simpd/cluster/blockfeed"
	"simpd/protocol"
)

// config holds the settings of simpd serve, each checked by
// itself (load) and with the others (validate).
type config struct {
	as map[string][]string // each as it was written, or as is standard, by the option's name

	nodeID, dataDir string
	domains         []string // in A-labels; the first is named in HELLO

	// Where to listen; empty is off.
	simp, simps, ws, grpc, cluster, gossip, http, pprof, scim, console string

	webChat         bool     // on ws
	webAddress      string   // of the web chat, for people; without a slash at its end
	consoleAddress  string   // of the console, for operators; likewise
	origins         []string // of the WebSocket
	httpHosts       []string // names that HTTP requests may use
	proxies, exempt []netip.Prefix
	gossipAllow     []netip.Prefix
	forwarders      []netip.Prefix // HTTP proxies in front of the WebSocket
	advertise       string         // host
	// advertiseClient and advertiseClientTLS are host:port, or off.
	advertiseClient, advertiseClientTLS string

	bootstrapExpect int
	join            []string

	tlsCerts, tlsKeys                  []string
	clusterCA, clusterCert, clusterKey string
	gossipKeys, tokens                 string
	accountsPath, userCA               string
	accounts                           *accountsFile // nil: the site has only the accounts of its table
	insecure                           bool

	timing       string
	drainTimeout time.Duration
	idle         time.Duration // 0: the server's default

	federation federationConfig
	acme       acmeConfig
	blockFeeds []blockfeed.Source
	limits     limits // of each user
	policy     policySettings

	logFormat, logLevel string

	warnings []string // what works, and should be looked at; written when it was checked
}

// allOptions lists every setting of simpd serve, in the order of its help.
func allOptions() []option {
	return slices.Concat(identityOptions(), listenOptions(), siteOptions(), policyOptions(), federationOptions(), secretOptions(), acmeOptions(), blockFeedOptions())
}

func identityOptions() []option {
	return []option{
		{name: "node-id", arg: "ID", help: "this node's id, unique in the site",
			set: setNodeID},
		{name: "data-dir", arg: "DIR", help: "the folder for the Raft log, snapshots and the node's identity",
			set: toText(func(c *config) *string { return &c.dataDir })},
		{name: "domain", arg: "DOMAIN", form: list, help: "a domain that the site serves; the greeting names the first; may be repeated",
			set: setDomains},
	}
}

func listenOptions() []option {
	return []option{
		{name: "simp-listen", arg: "HOST:PORT", standard: "127.0.0.1:7467", help: "listen address for SIMP with STARTTLS",
			set: toListen(func(c *config) *string { return &c.simp })},
		{name: "simps-listen", arg: "HOST:PORT", standard: "off", help: "listen address for SIMP over TLS",
			set: toListen(func(c *config) *string { return &c.simps })},
		{name: "ws-listen", arg: "HOST:PORT", standard: "off", help: "listen address for SIMP over WebSocket, path /simp, and the web chat, path /",
			set: toListen(func(c *config) *string { return &c.ws })},
		{name: "web-chat", form: toggle, standard: "true", help: "serve the web chat on ws-listen; --web-chat=false disables it",
			set: toToggle(func(c *config) *bool { return &c.webChat })},
		{name: "web-address", arg: "URL", help: "the address at which people reach the web chat, such as https://chat.example.com, for the links of invitations. " +
			"If not set, it is known only of a web chat on loopback",
			set: setWebAddress},
		{name: "ws-origin", arg: "ORIGIN", form: list, help: "an origin whose pages may use the WebSocket; may be repeated",
			set: setOrigins},
		{name: "grpc-listen", arg: "HOST:PORT", standard: "127.0.0.1:7469", help: "listen address for gRPC: programs and simpctl",
			set: toListen(func(c *config) *string { return &c.grpc })},
		{name: "scim-listen", arg: "HOST:PORT", standard: "off", help: "listen address for identity providers that create and deactivate accounts by SCIM 2.0, path /scim/v2; over TLS with tls-cert, except on loopback. It needs token-file",
			set: toListen(func(c *config) *string { return &c.scim })},
		{name: "cluster-listen", arg: "HOST:PORT", standard: "127.0.0.1:7470", help: "listen address for other nodes: Raft and routing",
			set: toListen(func(c *config) *string { return &c.cluster })},
		{name: "gossip-listen", arg: "HOST:PORT", standard: "127.0.0.1:7471", help: "listen address for gossip between nodes, TCP and UDP",
			set: toListen(func(c *config) *string { return &c.gossip })},
		{name: "http-listen", arg: "HOST:PORT", standard: "127.0.0.1:7480", help: "listen address for HTTP: /healthz, /readyz and /metrics",
			set: toListen(func(c *config) *string { return &c.http })},
		{name: "http-host", arg: "NAME", form: list, help: "a name that HTTP and WebSocket requests may use as Host for this node, besides IP addresses, localhost " +
			"and the advertised names; any other Host is answered 421; may be repeated",
			set: setHTTPHosts},
		{name: "pprof-listen", arg: "HOST:PORT", standard: "off", help: "listen address for profiles (pprof), for developers; loopback only",
			set: toListen(func(c *config) *string { return &c.pprof })},
		{name: "console-listen", arg: "HOST:PORT", standard: "off", help: "listen address for the operators' console: HTTPS with tls-cert, or HTTP on loopback; simpctl console signs in",
			set: toListen(func(c *config) *string { return &c.console })},
		{name: "console-address", arg: "URL", help: "the address at which operators reach the console of this node, such as https://n1.example.com:7475, for the links of simpctl console. " +
			"If not set, the host of console-listen, or if that is 0.0.0.0 or [::], of advertise-client-tls, advertise-client or advertise",
			set: setConsoleAddress},
		{name: "advertise", arg: "HOST", help: "the host at which other nodes reach this one, if it differs from the addresses listened on",
			set: setAdvertise},
		{name: "advertise-client", arg: "HOST:PORT", help: "the address at which clients reach simp-listen; MOVE sends clients of other nodes there. off: MOVE names no node, " +
			"as behind a balancer. If not set, it is the address of simp-listen, unless that is 0.0.0.0 or [::], other nodes reach that host at another address (advertise), " +
			"or proxy-protocol is set: then MOVE names no node either, which simpctl doctor reports unless proxy-protocol is set",
			set: toAdvertised(func(c *config) *string { return &c.advertiseClient })},
		{name: "advertise-client-tls", arg: "HOST:PORT", help: "the same for simps-listen; if not set, the host of advertise-client, provided that advertise-client has the port of simp-listen or simps-listen",
			set: toAdvertised(func(c *config) *string { return &c.advertiseClientTLS })},
		{name: "proxy-protocol", arg: "CIDR", form: list, help: "a network of balancers that send the PROXY protocol to the SIMP and WebSocket listeners; may be repeated",
			set: toNetworks(func(c *config) *[]netip.Prefix { return &c.proxies })},
		{name: "ws-forwarded-from", arg: "CIDR", form: list, help: "a network of HTTP proxies from whose X-Forwarded-For the node takes a WebSocket client's address; may be repeated",
			set: toNetworks(func(c *config) *[]netip.Prefix { return &c.forwarders })},
		{name: "exempt", arg: "CIDR", form: list, help: "a network whose connections are exempt from limits by source, such as an address that many clients share; may be repeated",
			set: toNetworks(func(c *config) *[]netip.Prefix { return &c.exempt })},
	}
}

func siteOptions() []option {
	return []option{
		{name: "bootstrap-expect", arg: "N", form: number, help: "a new site forms once N nodes have found each other (1, 2, 3 or 5)",
			set: toNumber(func(c *config) *int { return &c.bootstrapExpect }, 1, 2, 3, 5)},
		{name: "gossip-allow", arg: "CIDR", form: list, help: "a network from which gossip is accepted; if not set, from all networks; may be repeated",
			set: toNetworks(func(c *config) *[]netip.Prefix { return &c.gossipAllow })},
		{name: "join", arg: "HOST:PORT", form: list, help: "the gossip address of any other node, or a name with the addresses of several; may be repeated",
			set: toPeers(func(c *config) *[]string { return &c.join })},
		{name: "timing", arg: "WORD", standard: "fast", help: "timeouts of election and failure detection: fast, or relaxed for overloaded machines",
			set: toWord(func(c *config) *string { return &c.timing }, "fast", "relaxed")},
		{name: "drain-timeout", arg: "DURATION", standard: "30s", reload: true, help: "how long SIGTERM waits for clients to move",
			set: toDuration(func(c *config) *time.Duration { return &c.drainTimeout }, 0)},
		{name: "idle", arg: "DURATION", standard: "5m", help: "how long a client may be silent before the node asks whether it is still there, 10s to 1h in whole seconds; " +
			"an open WebSocket is also kept alive by pings of its own, every 30s",
			set: setIdle},
		{name: "limit", arg: "NAME=RATE[:BURST]", form: list, standard: standardLimits, reload: true,
			help: "how many events a second may happen, and how many at once; NAME=off removes a limit. " +
				"changes (LISTEN, STATE, UNLISTEN, and ACL for presence; a CONTACT, a KEY or another ACL is counted apart: 64 for each change of BURST, and 16 for each of RATE) and commands (other requests; a list of contacts or rules is one more for each 50 lines) count for each user on this node. " +
				"All others count over all nodes of the site: messages, watches (addresses of WATCH, QUERY and KEYS, and each key that is listed) and logins for each user, " +
				"first-contacts (recipients that are new to the sender) for each user of another site, and first-contacts-local for each user of this one. " +
				"With -by-source a name counts for each IPv4 address or IPv6 /64 of users, with -by-domain for each domain of another site, " +
				"with -by-program (messages and first-contacts) for each program. May be repeated",
			set: setLimits},
	}
}

func secretOptions() []option {
	return []option{
		{name: "tls-cert", arg: "FILE", form: list, reload: true, help: "a certificate chain for SIMP and WebSocket; of several the node chooses by SNI; may be repeated",
			set: toTexts(func(c *config) *[]string { return &c.tlsCerts })},
		{name: "tls-key", arg: "FILE", form: list, reload: true, help: "the private key of each tls-cert, in the same order; may be repeated",
			set: toTexts(func(c *config) *[]string { return &c.tlsKeys })},
		{name: "cluster-ca", arg: "FILE", reload: true, help: "the certificate authority of nodes and programs",
			set: toText(func(c *config) *string { return &c.clusterCA })},
		{name: "cluster-cert", arg: "FILE", reload: true, help: "this node's certificate",
			set: toText(func(c *config) *string { return &c.clusterCert })},
		{name: "cluster-key", arg: "FILE", reload: true, help: "the private key of cluster-cert",
			set: toText(func(c *config) *string { return &c.clusterKey })},
		{name: "gossip-key-file", arg: "FILE", reload: true, help: "gossip keys, one a line in base64; the first is used to encrypt",
			set: toText(func(c *config) *string { return &c.gossipKeys })},
		{name: "token-file", arg: "FILE", reload: true, help: "the bearer tokens of programs, one a line: name, hash and roles",
			set: toText(func(c *config) *string { return &c.tokens })},
		{name: "accounts-file", arg: "FILE", reload: true, help: "the account sources of each domain, such as directories; if not set, a site has only the accounts of its table",
			set: toText(func(c *config) *string { return &c.accountsPath })},
		{name: "user-ca", arg: "FILE", reload: true, help: "the certificate authority of users: who has a certificate of it with exactly one address may log in by EXTERNAL; if not set, nobody may",
			set: toText(func(c *config) *string { return &c.userCA })},
		{name: "insecure", form: toggle, help: "no TLS between nodes or for programs, and PLAIN without TLS; loopback only",
			set: toToggle(func(c *config) *bool { return &c.insecure })},
		{name: "log-format", arg: "WORD", standard: "text", help: "format of the log: text or json",
			set: toWord(func(c *config) *string { return &c.logFormat }, "text", "json")},
		{name: "log-level", arg: "WORD", standard: "info", reload: true, help: "lowest level to log: debug, info, warn or error",
			set: toWord(func(c *config) *string { return &c.logLevel }, "debug", "info", "warn", "error")},
	}
}

// maxNodeID keeps a node's name short enough to travel in gossip.
const maxNodeID = 63

// setNodeID takes what can stand in a certificate's name, a session's and a
// metric's label.
func setNodeID(c *config, v []string) error {
	c.nodeID = v[0]
	if len(v[0]) > maxNodeID {
		return fmt.Errorf("%q is longer than %d octets", v[0], maxNodeID)
	}
	for i, r := range v[0] {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && (i == 0 || i == len(v[0])-1 || !strings.ContainsRune("-_.", r)) {
			return fmt.Errorf("%q: a node's name has letters and digits, and -, _ and . within", v[0])
		}
	}
	return nil
}

func setDomains(c *config, v []string) error {
	for _, s := range v {
		d, err := protocol.ParseDomain(s)
		if err != nil {
			return err
		}
		c.domains = append(c.domains, d)
	}
	return nil
}

func setAdvertise(c *config, v []string) error {
	c.advertise = v[0]
	if strings.ContainsAny(v[0], "/ ") || checkHostPort(v[0]) == nil {
		return fmt.Errorf("invalid host %q: must be a name or an address without a port", v[0])
	}
	return nil
}

// toAdvertised takes HOST:PORT where clients can connect, or "off".
func toAdvertised(field func(*config) *string) func(*config, []string) error {
	return func(c *config, v []string) error {
		*field(c) = v[0]
		if v[0] == off {
			return nil
		}
		if err := checkPeer(v[0]); err != nil {
			return err
		}
		if isUnspecified(v[0]) {
			return fmt.Errorf("invalid address %q: must be one that clients can connect to", v[0])
		}
		return nil
	}
}
