package main

import (
	"errors"
	"strings"
	"testing"

	"simpd/protocol"
)

// TestOperatorsMistakes: what is the caller's fault is told as such, and not as
// something that may be tried again.
func TestOperatorsMistakes(t *testing.T) {
	o := operations{newGlobe(t).site("one.example", nil).node}
	ctx := soon(t)
	_, transfer := o.TransferLeadership(ctx, "n9")
	_, alone := o.TransferLeadership(ctx, "n1")
	for what, c := range map[string]struct {
		err    error
		status protocol.Status
	}{
		"remove":             {o.RemoveNode(ctx, "n9"), protocol.StatusUnknownAddress},
		"undrain":            {o.Undrain(ctx, "n9"), protocol.StatusUnknownAddress},
		"drain":              {o.Drain(ctx, "n9", 0, nil), protocol.StatusUnknownAddress},
		"transfer":           {transfer, protocol.StatusUnknownAddress},
		"admit":              {o.AdmitNode(ctx, "n9"), protocol.StatusUnknownAddress},
		"remove the one":     {o.RemoveNode(ctx, "n1"), protocol.StatusWrongState},
		"transfer to itself": {alone, 0},
	} {
		told, ok := errors.AsType[*protocol.Error](c.err)
		switch {
		case c.status == 0:
			if c.err != nil {
				t.Errorf("%s: %v", what, c.err)
			}
		case !ok || told.Status != c.status || strings.Contains(told.Text, "refused: "):
			t.Errorf("%s: %v, want %d", what, c.err, c.status)
		}
	}
}
