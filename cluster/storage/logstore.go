package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stallTimeout is the maximum duration of one write. Raft never replaces a
// leader whose disk hangs, because its heartbeats continue; ending the
// process does.
const stallTimeout = 3 * time.Second

// logStore is Raft's log store with a checksum for each entry. It stops the
// process if a write hangs or if an entry fails its checksum. It caches the
// newest entries in memory, and counts the octets of all.
type logStore struct {
	raft.LogStore
	marker *Manifest
	size   *LogSize
	recent recentLogs
	fatal  func(error)
}

// StoreLogs stores logs with their checksums. (Raft's Extensions field
// carries them, on disk only.)
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if err := s.marker.MarkDirty(); err != nil {
		return err
	}
	sealed := make([]*raft.Log, len(logs))
	for i, l := range logs {
		c := *l
		c.Extensions = checksumOf(&c)
		sealed[i] = &c
	}
	if err := s.write(sealed); err != nil {
		return err
	}
	for _, l := range logs {
		s.size.add(l.Index, len(l.Data))
	}
	s.recent.add(logs)
	return nil
}

func (s *logStore) write(sealed []*raft.Log) error {
	defer startWatchdog(s.fatal)()
	return s.LogStore.StoreLogs(sealed)
}

// StoreLog stores one log.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// GetLog reads the log at index. If it fails its checksum, the process ends:
// Raft must neither act on it nor continue without it.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	if s.recent.get(index, l) {
		return nil
	}
	if err := s.LogStore.GetLog(index, l); err != nil {
		return err
	}
	if err := verifyChecksum(index, l); err != nil {
		s.fatal(err)
		return err
	}
	return nil
}

// DeleteRange removes the beginning or the end of the log.
func (s *logStore) DeleteRange(from, to uint64) error {
	s.recent.clear()
	if err := s.LogStore.DeleteRange(from, to); err != nil {
		return err
	}
	s.size.remove(from, to)
	return nil
}

// IsMonotonic makes Raft delete the log before an installed snapshot, rather
// than leave a gap.
func (s *logStore) IsMonotonic() bool { return true }

func checksumOf(l *raft.Log) []byte {
	var head [17]byte
	binary.BigEndian.PutUint64(head[0:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	sum := crc32.Checksum(head[:], crc32.MakeTable(crc32.Castagnoli))
	sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), l.Data)
	return binary.BigEndian.AppendUint32(nil, sum)
}

// verifyChecksum checks a log that was read, and removes its checksum.
func verifyChecksum(index uint64, l *raft.Log) error {
	if l.Index != index || string(l.Extensions) != string(checksumOf(l)) {
		return fmt.Errorf("entry %d of the log fails its checksum", index)
	}
	l.Extensions = nil
	return nil
}

// stallLooks is how often a write is checked before it counts as stalled. A
// period in which the process itself is paused counts as one check.
const stallLooks = 30

// startWatchdog calls fatal unless the returned function is called in time.
func startWatchdog(fatal func(error)) (done func()) {
	w := &writeWatchdog{fatal: fatal}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(stallTimeout/stallLooks, w.check)
	return w.stop
}

// writeWatchdog watches one write.
type writeWatchdog struct {
	fatal func(error)

	mu    sync.Mutex
	timer *time.Timer
	looks int
	done  bool
}

func (w *writeWatchdog) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.looks++; {
	case w.done:
	case w.looks < stallLooks:
		w.timer.Reset(stallTimeout / stallLooks)
	default:
		w.fatal(fmt.Errorf("the disk has not finished one write in %v: ending, so that another node can lead", stallTimeout))
	}
}

func (w *writeWatchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	w.timer.Stop()
}

// stableStore is Raft's store of its term and vote, with checksums.
type stableStore struct {
	raft.StableStore
	marker *Manifest
	fatal  func(error)
}

// Set stores a value durably.
func (s *stableStore) Set(key, value []byte) error {
	if err := s.marker.MarkDirty(); err != nil {
		return err
	}
	return s.set(key, value)
}

func (s *stableStore) set(key, value []byte) error {
	defer startWatchdog(s.fatal)()
	return s.StableStore.Set(key, binary.BigEndian.AppendUint32(append([]byte(nil), value...), keySum(key, value)))
}

// Get returns the value of key, nil if there is none.
func (s *stableStore) Get(key []byte) ([]byte, error) {
	b, err := s.StableStore.Get(key)
	if err != nil {
		return nil, err
	}
	n := len(b) - 4
	if n < 0 || binary.BigEndian.Uint32(b[n:]) != keySum(key, b[:n]) {
		return nil, fmt.Errorf("%s fails its checksum", key)
	}
	return b[:n], nil
}

// SetUint64 stores a number durably. A zero, which Raft writes before it has
// heard of any node, does not make the directory dirty.
func (s *stableStore) SetUint64(key []byte, value uint64) error {
	if value == 0 {
		return s.set(key, make([]byte, 8))
	}
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 returns the number of key.
func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	b, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, errors.New(string(key) + " is not a number")
	}
	return binary.BigEndian.Uint64(b), nil
}

func keySum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, table), table, value)
}
