package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func TestAFlippedEntryEndsTheProcess(t *testing.T) {
	var fatal error
	d, err := Open(filepath.Join(t.TempDir(), "data"), "example.com", "n1", func(err error) { fatal = err }, hclog.NewNullLogger())
	must(t, err)
	defer d.Close()
	must(t, d.Logs.StoreLog(&raft.Log{Index: 1, Term: 9, Type: raft.LogCommand, Data: []byte("x")}))
	wrong := raft.Log{Index: 2, Term: 9, Type: raft.LogCommand, Data: []byte("x"), Extensions: []byte("none")}
	must(t, d.bolt.StoreLog(&wrong))
	if err := d.Logs.GetLog(2, new(raft.Log)); err == nil || fatal == nil {
		t.Errorf("read: %v, fatal: %v", err, fatal)
	}
}

// hung is a log store whose disk does not answer.
type hung struct {
	*raft.InmemStore
	answer chan struct{}
}

func (h hung) StoreLogs(logs []*raft.Log) error {
	<-h.answer
	return h.InmemStore.StoreLogs(logs)
}

func TestAHangingDiskEndsTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		h := hung{raft.NewInmemStore(), make(chan struct{})}
		s := logStore{LogStore: h, marker: &Manifest{}, size: newLogSize(), fatal: func(error) { ended <- time.Now() }}
		begin := time.Now()
		go func() {
			<-time.After(10 * time.Second)
			close(h.answer)
		}()
		must(t, s.StoreLog(&raft.Log{Index: 1}))
		if took := (<-ended).Sub(begin); took != stallTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

// full is a log store whose disk is full.
type full struct{ *raft.InmemStore }

var errFull = errors.New("no space left on device")

func (full) StoreLogs([]*raft.Log) error { return errFull }

func TestAFullDiskIsAnErrorOnly(t *testing.T) {
	s := logStore{LogStore: full{raft.NewInmemStore()}, marker: &Manifest{}, size: newLogSize(), fatal: func(err error) { t.Errorf("fatal: %v", err) }}
	if err := s.StoreLog(&raft.Log{Index: 1}); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

// TestAShortageIsNoDamage: whoever is told that data is damaged wipes it.
func TestAShortageIsNoDamage(t *testing.T) {
	d := &Storage{Dir: "/var/lib/simpd", Manifest: &Manifest{id: Record{Node: "n1"}}}
	for _, short := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		err := d.UnusableError(fmt.Errorf("raft: %w", &fs.PathError{Op: "write", Path: logFile, Err: short}))
		if _, refused := errors.AsType[DataError](err); refused || strings.Contains(err.Error(), "wipe") || !errors.Is(err, short) {
			t.Errorf("%v: %v", short, err)
		}
	}
	err := d.UnusableError(&fs.PathError{Op: "open", Path: logFile, Err: syscall.EACCES})
	if _, refused := errors.AsType[DataError](err); !refused || strings.Contains(err.Error(), "wipe") || !strings.Contains(err.Error(), "user that runs simpd") {
		t.Errorf("another user's file: %v", err)
	}
	err = d.UnusableError(&fs.PathError{Op: "read", Path: logFile, Err: syscall.EIO})
	if _, refused := errors.AsType[DataError](err); !refused || !strings.Contains(err.Error(), "wipe") {
		t.Errorf("an unreadable disk: %v", err)
	}
}
