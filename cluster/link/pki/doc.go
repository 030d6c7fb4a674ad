// Package pki says who is who between nodes and programs: a certificate names
// its bearer by a URI, simp://SITE/node/ID for a node and
// simp://SITE/service/NAME for a program, with what the program may do. One
// authority of the site signs both; nothing but the name decides who gets in,
// and a certificate without one, or with two, is nobody's.
//
// Identity is what a node holds of it while it runs; Make is the maker of
// such certificates for those who have no authority of their own.
package pki
