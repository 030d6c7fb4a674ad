package store

import (
	"errors"
	"fmt"

	storev1 "simpd/proto/simp/store/v1"
)

// NewestSchema is the newest schema of the log that this program can read,
// and OldestSchema the oldest.
const (
	OldestSchema = 1
	NewestSchema = 2
)

// ErrSchema is wrapped by the errors that say that an entry or a snapshot was
// written by a newer program.
var ErrSchema = errors.New("a newer program is needed")

// Apply applies an entry's changes in order, each by itself, and returns their
// results. An error says that this program can't read the entry: nothing of it
// was applied, and the node must stop, for it would go another way than the
// others. Errors wrap ErrSchema.
func (t *Table) Apply(e *storev1.Entry) ([]BatchResult, error) {
	if err := t.readable(e); err != nil {
		return nil, err
	}
	t.mu.Lock()
	results := t.applyEntry(e)
	t.mu.Unlock()
	t.publish()
	return results, nil
}

// publish wakes those who wait for the index that the table has now.
func (t *Table) publish() {
	t.index.Store(t.now.index)
	t.waiting.reached(t.now.index)
}

// Newest is the newest schema of the log that this table reads.
func (t *Table) Newest() uint32 { return t.newest }

// readable reports whether this program knows all that e may hold.
func (t *Table) readable(e *storev1.Entry) error {
	if e.GetMinSchema() > t.newest {
		return fmt.Errorf("an entry of schema %d, while this program reads up to %d: %w", e.GetMinSchema(), t.newest, ErrSchema)
	}
	for _, b := range e.GetBatch() {
		for _, c := range b.GetChange() {
			if c.GetKind() == nil {
				return fmt.Errorf("an entry with a change of a kind that this program does not know: %w", ErrSchema)
			}
			if n := c.GetSetSchema().GetSchema(); n > t.newest {
				return fmt.Errorf("the site goes on to schema %d, while this program reads up to %d: %w", n, t.newest, ErrSchema)
			}
		}
	}
	return nil
}

func (t *Table) applyEntry(e *storev1.Entry) []BatchResult {
	t.view = nil
	results := make([]BatchResult, len(e.GetBatch()))
	for i, b := range e.GetBatch() {
		t.at = fromMilli(b.GetTimeMs())
		r := make([]Result, len(b.GetChange()))
		for j, c := range b.GetChange() {
			r[j] = t.apply(c)
		}
		results[i] = BatchResult{Origin: b.GetOrigin(), Boot: b.GetBoot(), Number: b.GetNumber(), Results: r}
	}
	return results
}

func (t *Table) apply(c *storev1.Change) Result {
	r := t.dispatch(c)
	r.Index = t.now.index
	return r
}

func (t *Table) dispatch(c *storev1.Change) Result {
	switch k := c.Kind.(type) {
	case *storev1.Change_Bind:
		return t.bind(k.Bind)
	case *storev1.Change_SetState:
		return t.setState(k.SetState)
	case *storev1.Change_Release:
		return t.release(k.Release)
	case *storev1.Change_NodeUp:
		return t.nodeUp(k.NodeUp)
	case *storev1.Change_NodeDown:
		return t.nodeDown(k.NodeDown)
	case *storev1.Change_SetDraining:
		return t.setDraining(k.SetDraining)
	case *storev1.Change_RemoveNode:
		return t.removeNode(k.RemoveNode)
	case *storev1.Change_Reap:
		return t.reap(k.Reap)
	case *storev1.Change_PutAccount:
		return t.putAccount(k.PutAccount)
	case *storev1.Change_DeleteAccount:
		return t.deleteAccount(k.DeleteAccount)
	case *storev1.Change_SetDisabled:
		return t.setDisabled(k.SetDisabled)
	case *storev1.Change_SetRule:
		return t.setRule(k.SetRule)
	case *storev1.Change_SetContact:
		return t.setContact(k.SetContact)
	case *storev1.Change_SetSchema:
		return t.setSchema(k.SetSchema)
	case *storev1.Change_NewHistory:
		return t.newHistory(k.NewHistory)
	case *storev1.Change_Digest:
		return t.commit(entry{kind: EventDigest})
	case *storev1.Change_RestoreAccounts:
		return t.restoreAccounts(k.RestoreAccounts)
	case *storev1.Change_AddCertificate:
		return t.addCertificate(k.AddCertificate)
	case *storev1.Change_ExcludeNode:
		return t.excludeNode(k.ExcludeNode)
	case *storev1.Change_AdmitNode:
		return t.admitNode(k.AdmitNode)
	}
	// readable knows the same kinds: the generated code makes no others.
	panic(fmt.Sprintf("store: a change of the type %T", c.Kind))
}

// next is the index that the change in hand gets if it is applied.
func (t *Table) next() uint64 { return t.now.index + 1 }

// treeOctets is about how much of its trees a change replaces.
const treeOctets = 1024

// commit gives what was changed the next index, and its event.
func (t *Table) commit(e entry) Result {
	t.now.index++
	t.now.replaced += uint64(treeOctets + e.before.size() + e.list)
	t.ring.add(e)
	return Result{Applied: true}
}

func refuse(r Refusal, format string, args ...any) Result {
	return Result{Refusal: r, Detail: fmt.Sprintf(format, args...)}
}
