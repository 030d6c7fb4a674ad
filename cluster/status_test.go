package cluster

import (
	"testing"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// TestStartTimes: which of two nodes started later is told by one clock, as that
// of one of them may have been wrong when it started.
func TestStartTimes(t *testing.T) {
	now := time.Now()
	early := &clusterv1.StatusResponse{StartedMs: now.Add(-time.Hour).UnixMilli(), UptimeMs: 3_600_000}
	late := &clusterv1.StatusResponse{StartedMs: 5_000, UptimeMs: 10_000} // at 00:00:05 in 1970
	if a, b := startTime(early, now), startTime(late, now); !a.Before(b) || now.Sub(b) != 10*time.Second {
		t.Errorf("the node that is up for an hour started at %v, and the other, up for 10 s, at %v", a, b)
	}
	if got := startTime(&clusterv1.StatusResponse{StartedMs: 7_000}, now); got != time.UnixMilli(7_000) {
		t.Errorf("an older version that started at %v is taken to have at %v", time.UnixMilli(7_000), got)
	}
}
