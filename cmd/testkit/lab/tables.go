package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// hash is a node's newest hash of its table.
type hash struct {
	entry uint64 // of the log, after which it was taken
	sum   float64
}

// hashes asks all nodes; an error says that one of them does not answer, or
// has had to take over another's table.
func (l *lab) hashes() ([]hash, error) {
	var all []hash
	for _, n := range l.site.Nodes {
		ok, said := measures(n)
		if !ok {
			return nil, fmt.Errorf("%s does not show its metrics", n.ID)
		}
		if healed := metric(said, "simp_tables_healed_total"); healed != 0 {
			return nil, fmt.Errorf("%s: %w", n.ID, errHealed)
		}
		all = append(all, hash{uint64(metric(said, "simp_digest_log")), metric(said, "simp_digest")})
	}
	return all, nil
}

var errHealed = errors.New("its table was wrong, and another's was taken over")

func metric(said, name string) float64 {
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(said)
	if m == nil {
		return -1
	}
	v, _ := strconv.ParseFloat(m[1], 64)
	return v
}

// sameTables compares the tables of all nodes by the hashes that they take
// after one more change: without one they take none.
func (l *lab) sameTables() error {
	var newest uint64
	before, err := l.hashes()
	for _, h := range before {
		newest = max(newest, h.entry)
	}
	if err := l.changeTable(); err != nil {
		return fmt.Errorf("no change before the tables are compared: %w", err)
	}
	limit := time.After(30 * time.Second)
	for err == nil || !errors.Is(err, errHealed) {
		var all []hash
		if all, err = l.hashes(); err == nil && ofOneEntry(all, newest) {
			for i, h := range all {
				if h.sum != all[0].sum {
					return fmt.Errorf("the tables of n1 and n%d differ after entry %d of the log", i+1, h.entry)
				}
			}
			return nil
		}
		select {
		case <-limit:
			return fmt.Errorf("no new hash of all tables comes: %v, %w", all, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return err
}

// changeTable commits a change that none of the run's users can see. It tries
// again while the site elects a leader.
func (l *lab) changeTable() error {
	for limit := l.clock.Now() + settled; ; l.pauseFor(100 * time.Millisecond) {
		err := l.addContact("asker1", "asker2")
		if err == nil || l.clock.Now() > limit {
			return err
		}
	}
}

// addContact adds a contact under a name that it has not had before.
func (l *lab) addContact(user, contact string) error {
	c, err := l.dial(1, user, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Ask(fmt.Sprintf(`CONTACT ima=%s name="%s"`, l.address(contact), l.clock.Now()), nil)
	return err
}

// ofOneEntry reports whether all are of one entry behind the given one.
func ofOneEntry(all []hash, newest uint64) bool {
	for _, h := range all {
		if h.entry <= newest || h.entry != all[0].entry {
			return false
		}
	}
	return len(all) > 0
}
