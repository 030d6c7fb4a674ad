// Package api serves the gRPC services for programs (package simp.v1): who
// listens, messages, accounts, and the running of the site. Every node serves
// every call for the whole site.
//
// What can be read is read from the node's own table; what changes the site
// goes through Directory, Messenger and Cluster. Who may do what stands in one
// table, in roles.go; what is not in it is refused.
package api
