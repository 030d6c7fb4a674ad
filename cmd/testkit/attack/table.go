package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// actor is a kind of attacker, by what they have.
type actor string

const (
	stranger    actor = "stranger"     // an address
	user        actor = "user"         // accounts
	otherSite   actor = "other site"   // a domain with a certificate, and its DNS
	program     actor = "program"      // no credentials, on the services' listeners
	removedNode actor = "removed node" // the keys of a node that was removed
)

// attack is one way to harm the site.
type attack struct {
	name  string
	actor actor
	does  string // what it does
	harms string // what it must not reach
	// least is the lowest number of tries in a second: with fewer it
	// shows nothing.
	least float64
	// never are outcomes that must not be seen, and atMost bounds how often
	// others may be, in a minute.
	never  []string
	atMost map[string]float64
	// run attacks until ctx ends, and counts what it was told. An error says
	// that it could not attack.
	run func(ctx context.Context, g *ground, t *tally) error
}

// choose returns the attacks with these names; "" is all, "none" none.
func choose(all []attack, names string) ([]attack, error) {
	switch names {
	case "":
		return all, nil
	case "none":
		return nil, nil
	}
	var chosen []attack
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(a attack) bool { return a.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown attack %q: -list names them", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func printAttacks(w io.Writer, all []attack) {
	for _, a := range all {
		fmt.Fprintf(w, "%-18s %-13s %s; must not: %s\n", a.name, a.actor, a.does, a.harms)
	}
}
