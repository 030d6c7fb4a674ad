package router

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"simpd/store"
)

// Users are told whether a change may have been made, and of no node's address.
func TestUsersAreNotToldOfNodes(t *testing.T) {
	lost := errors.New("node n2: dial tcp 10.0.0.7:7470: connect: connection refused")
	for want, err := range map[string]error{
		"could not be made":     lost,
		"it may have been made": fmt.Errorf("%w: %w", store.ErrUnknown, lost),
	} {
		text := unavailableError(err).Error()
		if !strings.Contains(text, want) || strings.Contains(text, "10.0.0.7") || strings.Contains(text, "n2") {
			t.Errorf("%v: users are told %q", err, text)
		}
	}
}
