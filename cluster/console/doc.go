// Package console serves the operators' console: pages and modules that are
// embedded in the program, and the data and actions behind them.
//
// There are no passwords. Whoever opens a link that simpctl has made gets a
// cookie, which every node of the site accepts. Each route stands in one table
// with the method of gRPC whose roles it takes (routes.go); what is not there is
// refused. What is read and done goes through the services for programs, with
// the name and the roles of whoever has signed in, so that roles and audit log
// are theirs.
package console
