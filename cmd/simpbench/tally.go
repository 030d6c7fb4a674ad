//go:build linux

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"simpd/cmd/simpbench/load"
)

// tally counts what became of messages. It is part of most loads' Events.
type tally struct {
	load.Ignore
	answers map[int]int // by status
	gone    error       // why the first connection ended
}

func newTally() tally { return tally{answers: map[int]int{}} }

func (t *tally) Result(_ *load.Client, _ uint64, status int) { t.answers[status]++ }

func (t *tally) Gone(c *load.Client, err error) {
	if t.gone == nil {
		t.gone = fmt.Errorf("the connection of %s ended: %w", c.Name, err)
	}
}

// answered returns how many messages were answered.
func (t *tally) answered() (n int) {
	for _, of := range t.answers {
		n += of
	}
	return n
}

// err tells of connections lost, and of answers other than 200: a load whose
// messages do not arrive measures something else.
func (t *tally) err() error {
	if t.gone != nil {
		return t.gone
	}
	var bad []string
	for _, status := range slices.Sorted(maps.Keys(t.answers)) {
		if status != 200 {
			bad = append(bad, fmt.Sprintf("%d were answered %d", t.answers[status], status))
		}
	}
	if bad != nil {
		return errors.New("of the messages " + strings.Join(bad, ", "))
	}
	return nil
}
