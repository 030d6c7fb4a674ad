package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	simpv1 "simpd/proto/simp/v1"
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

func TestADrainThatTimesOutSaysWhatIsLeft(t *testing.T) {
	for want, p := range map[string]*simpv1.DrainResponse{
		"3 clients of n1 have not moved within 5s":                {Left: 3, Total: 4, Leader: true},
		"1 client of n1 has not moved within 5s":                  {Left: 1, Total: 4},
		"n1 still leads: no other voter has taken over within 5s": {Total: 4, Leader: true},
	} {
		if err := drainTimedOut("n1", p, 5*time.Second); !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
