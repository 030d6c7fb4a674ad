package main

import (
	"fmt"
	"strings"
	"time"

	"simpd/cluster/ratelimit"
	"simpd/protocol/rate"
	"simpd/protocol/server"
)

// limits holds how often something may happen, in events a second; the field
// of each name is found by limitOf.
type limits struct {
	changes, commands rate.Limit       // of a user on this node
	site              ratelimit.Limits // on all nodes together
}

// standardLimits protect a site, and disturb neither people nor a program that
// reconnects or sends what it has in one go (docs/operators/limits.md says why).
// They are also the option's standard, in the form in which it is written.
const standardLimits = "changes=1:60,commands=100:2000," +
	"messages=100:2000,messages-by-source=2000:40000,messages-by-domain=10000:200000,messages-by-program=10000:200000," +
	"first-contacts=0.5:30,first-contacts-local=10:2000,first-contacts-by-source=100:20000,first-contacts-by-domain=5:300,first-contacts-by-program=1000:100000," +
	"watches=100:20000,watches-by-source=2000:400000,watches-by-domain=1000:200000," +
	"logins=5:500,logins-by-source=100:10000,logins-by-domain=50:5000"

// siteLimitNames are the names of the limits of the whole site. The limit on
// first contacts that has no other name is that of other sites' users.
var siteLimitNames = [ratelimit.Kinds]string{
	ratelimit.MessagesByUser:          "messages",
	ratelimit.MessagesBySource:        "messages-by-source",
	ratelimit.MessagesByDomain:        "messages-by-domain",
	ratelimit.MessagesByProgram:       "messages-by-program",
	ratelimit.FirstContactsByUser:     "first-contacts-local",
	ratelimit.FirstContactsByStranger: "first-contacts",
	ratelimit.FirstContactsBySource:   "first-contacts-by-source",
	ratelimit.FirstContactsByDomain:   "first-contacts-by-domain",
	ratelimit.FirstContactsByProgram:  "first-contacts-by-program",
	ratelimit.WatchesByUser:           "watches",
	ratelimit.WatchesBySource:         "watches-by-source",
	ratelimit.WatchesByDomain:         "watches-by-domain",
	ratelimit.LoginsByUser:            "logins",
	ratelimit.LoginsBySource:          "logins-by-source",
	ratelimit.LoginsByDomain:          "logins-by-domain",
}

// limitNames returns the names of limits, in the order of the help.
func limitNames() []string { return append([]string{"changes", "commands"}, siteLimitNames[:]...) }

// limitOf returns the limit of a name; nil if there is none.
func (l *limits) limitOf(name string) *rate.Limit {
	switch name {
	case "changes":
		return &l.changes
	case "commands":
		return &l.commands
	}
	for k, n := range siteLimitNames {
		if n == name {
			return &l.site[k]
		}
	}
	return nil
}

// ofServer returns the limits that the connections' server keeps; the router
// keeps the others.
func (l *limits) ofServer() server.Limits {
	return server.Limits{Changes: l.changes, Commands: l.commands}
}

// setLimits has the node, which is started, go on with other limits.
func (n *node) setLimits(l limits) {
	n.limits.Store(&l)
	n.router.Limits().SetLimits(l.site)
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
			return fmt.Errorf("unknown limit %q%s; the names are %s", name, didYouMean(name, limitNames()), strings.Join(limitNames(), ", "))
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

// minFillTime is what the least burst of a site's limit should be worth: half a
// second, less what rounding takes.
const minFillTime = 499 * time.Millisecond

// warnings names the limits with whose burst several nodes admit too little: each
// pays in advance for what the others may have admitted since they last told.
func (l *limits) warnings() (all []string) {
	for k, name := range siteLimitNames {
		if one := l.site[k]; !one.IsUnlimited() && one.FillTime() < minFillTime {
			all = append(all, fmt.Sprintf("limit %s=%s: with a burst of less than half the rate, a site of several nodes admits less than the rate", name, one))
		}
	}
	return all
}
