package storage

import "github.com/hashicorp/raft"

// snapshotStore is Raft's store of snapshots. It records how far the newest
// reaches, whether this node took or received it.
type snapshotStore struct {
	raft.SnapshotStore
	size *LogSize
}

// Create starts a snapshot that reaches index.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configIndex uint64, t raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, c, configIndex, t)
	if err != nil {
		return nil, err
	}
	return &snapshotSink{SnapshotSink: sink, done: func() { s.size.snapshotAt(index) }}, nil
}

// snapshotSink writes a snapshot, and calls done when it is complete.
type snapshotSink struct {
	raft.SnapshotSink
	done func()
}

// Close completes the snapshot, which counts from now on.
func (s *snapshotSink) Close() error {
	err := s.SnapshotSink.Close()
	if err == nil {
		s.done()
	}
	return err
}
