package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/raft"

	"simpd/cluster/bootstrap"
	"simpd/cluster/storage"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// recoveredGap is how far the index is advanced: further than the lost nodes
// can have come beyond what this one knows, so that no epoch or session name
// is used twice.
const recoveredGap = 1 << 20

// Recovered describes what a site continues with after it lost its majority.
type Recovered struct {
	Node, Address   string
	OldHistory      string
	History         string // the new one
	Index           uint64 // of the table, as this node knew it
	Accounts        int
	AppliedLog      uint64 // Raft's index of the newest entry, committed or not
	BelievedApplied uint64 // Raft's index that the manifest records as certainly applied
}

// Recover makes a site of the one node that keeps its data, after the
// majority of voters is lost permanently. The node must not run, and no other
// node with data may ever run again: they must be wiped and join anew.
//
// What only the lost nodes had acknowledged is lost; what this node had
// received and nobody acknowledged may become valid. Epochs and bindings end,
// and the history gets a new name, by which everyone can tell. The site
// becomes a new cluster: nodes with the old one's data are refused.
//
// The file peers is Raft's peers.json with that one node: [{"id": "n1",
// "address": "10.0.0.1:7470"}].
func Recover(dir, peers string) (*Recovered, error) {
	config, err := raft.ReadConfigJSON(peers)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", peers, err)
	}
	d, err := storage.OpenStopped(dir)
	if err != nil {
		return nil, err
	}
	r, err := recoverFrom(d, config)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	return r, nil
}

// recoverFrom makes a site of a storage.
func recoverFrom(d *storage.Storage, config raft.Configuration) (*Recovered, error) {
	id := d.Manifest.Get()
	if len(config.Servers) != 1 || string(config.Servers[0].ID) != id.Node || config.Servers[0].Suffrage != raft.Voter {
		return nil, fmt.Errorf("the file of peers has to name %s alone, as a voter: the one node that keeps its data; all others are to be wiped and join it", id.Node)
	}
	f := newRecovery()
	c := Config{NodeID: id.Node, Logger: slog.New(slog.DiscardHandler)}
	_, transport := raft.NewInmemTransport(config.Servers[0].Address)
	defer transport.Close()
	if err := raft.RecoverCluster(raftConfig(&c, nil), f, d.Logs, d.Stable, d.Snapshots, transport, config); err != nil {
		return nil, fmt.Errorf("recovering %s: %w", d.Dir, errors.Join(f.broken, err))
	}
	if err := d.Manifest.Change(func(id *storage.Record) { id.ClusterID = bootstrap.NewClusterID() }); err != nil {
		return nil, err
	}
	f.told.Node, f.told.Address = id.Node, string(config.Servers[0].Address)
	f.told.BelievedApplied = id.Index
	return &f.told, nil
}

// recovery is the table while Raft replays everything into it. Its snapshot
// is the site's new beginning.
type recovery struct {
	table  *store.Table
	told   Recovered
	broken error
}

func newRecovery() *recovery { return &recovery{table: store.New(store.Config{})} }

// Apply applies an entry, whether it was committed or not.
func (f *recovery) Apply(l *raft.Log) any {
	if f.broken != nil {
		return f.broken
	}
	f.told.AppliedLog = l.Index
	e, err := decodeForTerm(l)
	if err == nil {
		_, err = f.table.Apply(e)
	}
	f.broken = err
	return err
}

// Snapshot starts a new history and returns the resulting state.
func (f *recovery) Snapshot() (raft.FSMSnapshot, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	v := f.table.View()
	fresh := newHistory()
	fresh.Secret, fresh.Index = v.Secret(), v.Index()+recoveredGap
	f.told.OldHistory, f.told.History, f.told.Index = v.History(), fresh.History, v.Index()
	f.told.Accounts, _ = v.Len()
	e := &storev1.Entry{MinSchema: minSchema, Batch: []*storev1.Batch{{
		Origin: "recover", Incarnation: 1, Number: 1, Change: []*storev1.Change{{Kind: &storev1.Change_NewHistory{NewHistory: fresh}}},
	}}}
	results, err := f.table.Apply(e)
	if err != nil {
		return nil, err
	}
	if r := results[0].Results[0]; r.Refusal != store.None {
		return nil, fmt.Errorf("naming the history anew: %s", r.Detail)
	}
	return snapshot{f.table.Snapshot()}, nil
}

// Restore reads the newest snapshot.
func (f *recovery) Restore(r io.ReadCloser) error { return f.table.Restore(r) }
