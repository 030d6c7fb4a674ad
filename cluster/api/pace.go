package api

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"simpd/store"
)

const (
	// backupPace limits how slowly a backup may be read, in octets a second on
	// average, once changes since its begin keep more than maxPinned in memory.
	backupPace = 1 << 20

	pinnedEvery = time.Second // the memory that a copy of the table keeps is looked at
)

var errBackupSlow = statusWithDetails(codes.DeadlineExceeded, "the backup was read too slowly while much was changed: begin again, and read at least 1 MiB a second", reasonTimedOut.errorInfo())

// endSlowBackup ends the call of ctx once v, from which sent octets have been
// sent, keeps too much in memory for somebody who reads too slowly: also while
// they read nothing. It does so until stop is called.
func (s *clusterService) endSlowBackup(ctx context.Context, v store.View, sent func() uint64) (stop func()) {
	begun, stopped := time.Now(), make(chan struct{})
	go func() {
		tick := time.NewTicker(pinnedEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stopped:
				return
			}
			due := backupPace * uint64(time.Since(begun)/time.Second)
			if s.Table.PinnedBy(v) > maxPinned && sent() < due {
				callOf(ctx).endWith(errBackupSlow)
				return
			}
		}
	}()
	return func() { close(stopped) }
}
