// Package federation speaks SIMP for a site to other sites (SIMP.md, section
// 9): it finds the home server of a remote domain, proves by certificate or
// dialback which local domain it speaks for, and carries messages, watches and
// questions there over routing connections.
//
// A Relay has one routing connection for each pair of a local and a remote
// domain. Users here, and remote sites, are strangers to each other and to the
// operator: each has a share of the connections, the memory and the time of a
// Relay, and what one of them takes up or breaks costs the others nothing.
//
// DESIGN.md says how.
package federation
