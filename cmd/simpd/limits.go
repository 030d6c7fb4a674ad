package main

import (
	"fmt"
	"strings"

	"simpd/protocol/rate"
	"simpd/protocol/server"
)

// limits holds how often a user may do something on this node, in events a
// second; the field of each name is found by limitOf.
type limits struct {
	changes, messages, firstContacts, watches, commands rate.Limit
}

// standardLimits protect a site, and disturb neither people nor a program that
// reconnects or sends what it has in one go. They are also the option's
// standard, in the form in which it is written.
const standardLimits = "changes=1:60,messages=100:2000,first-contacts=0.5:30,watches=100:20000,commands=100:2000"

// limitNames are the names of limits, in the order of the help.
var limitNames = []string{"changes", "messages", "first-contacts", "watches", "commands"}

// limitOf returns the limit of a name; nil if there is none.
func (l *limits) limitOf(name string) *rate.Limit {
	switch name {
	case "changes":
		return &l.changes
	case "messages":
		return &l.messages
	case "first-contacts":
		return &l.firstContacts
	case "watches":
		return &l.watches
	case "commands":
		return &l.commands
	}
	return nil
}

// ofServer returns the limits that the connections' server keeps; the router
// keeps the others.
func (l *limits) ofServer() server.Limits {
	return server.Limits{Changes: l.changes, Messages: l.messages, Watches: l.watches, Commands: l.commands}
}

// setLimits has the node, which is started, go on with other limits.
func (n *node) setLimits(l limits) {
	n.limits.Store(&l)
	n.router.SetFirstContacts(l.firstContacts)
	n.clients.Load().SetLimits(l.ofServer())
}

// setLimits takes NAME=RATE[:BURST] or NAME=off. What is not named keeps its
// standard.
func setLimits(c *config, values []string) error {
	c.limits = limits{}
	if err := c.limits.set(strings.Split(standardLimits, ",")); err != nil {
		return err
	}
	return c.limits.set(values)
}

func (l *limits) set(values []string) error {
	seen := map[string]bool{}
	for _, v := range values {
		name, value, ok := strings.Cut(v, "=")
		limit := l.limitOf(name)
		switch {
		case !ok:
			return fmt.Errorf("invalid limit %q: must be NAME=RATE[:BURST] or NAME=off", v)
		case limit == nil:
			return fmt.Errorf("unknown limit %q%s; the names are %s", name, didYouMean(name, limitNames), strings.Join(limitNames, ", "))
		case seen[name]:
			return fmt.Errorf("the limit %s is given twice", name)
		}
		seen[name] = true
		parsed, err := rate.Parse(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*limit = parsed
	}
	return nil
}
