package store

import (
	"errors"
	"fmt"

	storev1 "simpd/proto/simp/store/v1"
)

// OldestSchema and NewestSchema are the log schemas that this program can
// read.
const (
	OldestSchema = 1
	NewestSchema = 5
)

// ErrSchema is wrapped by errors that report an entry or a snapshot of a
// newer program.
var ErrSchema = errors.New("a newer program is needed")

// Apply applies an entry's changes in order, each by itself, and returns
// their results. An error means that this program cannot read the entry:
// nothing was applied, and the node must stop, because its table would
// diverge from the others. Errors wrap ErrSchema.
func (t *Table) Apply(e *storev1.Entry) ([]BatchResult, error) {
	if err := t.checkReadable(e); err != nil {
		return nil, err
	}
	t.mu.Lock()
	results := t.applyEntry(e)
	t.mu.Unlock()
	t.publish()
	return results, nil
}

// publish wakes those who wait for the table's index.
func (t *Table) publish() {
	t.index.Store(t.current.index)
	t.waiters.notify(t.current.index)
}

// Newest returns the newest log schema that this table reads.
func (t *Table) Newest() uint32 { return t.newest }

// checkReadable returns an error if e may hold something that this program
// does not know.
func (t *Table) checkReadable(e *storev1.Entry) error {
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
		t.batchTime = fromMilli(b.GetTimeMs())
		r := make([]Result, len(b.GetChange()))
		for j, c := range b.GetChange() {
			r[j] = t.applyChange(c)
		}
		results[i] = BatchResult{Origin: b.GetOrigin(), Incarnation: b.GetIncarnation(), Number: b.GetNumber(), Results: r}
	}
	return results
}

func (t *Table) applyChange(c *storev1.Change) Result {
	r := t.applyKind(c)
	r.Index = t.current.index
	return r
}

func (t *Table) applyKind(c *storev1.Change) Result {
	switch k := c.Kind.(type) {
	case *storev1.Change_Bind:
		return t.bindSession(k.Bind)
	case *storev1.Change_SetState:
		return t.setState(k.SetState)
	case *storev1.Change_Release:
		return t.releaseSession(k.Release)
	case *storev1.Change_PutAccount:
		return t.putAccount(k.PutAccount)
	case *storev1.Change_DeleteAccount:
		return t.deleteAccount(k.DeleteAccount)
	case *storev1.Change_SetDisabled:
		return t.setDisabled(k.SetDisabled)
	case *storev1.Change_AddAppPassword:
		return t.addAppPassword(k.AddAppPassword)
	case *storev1.Change_RemoveAppPassword:
		return t.removeAppPassword(k.RemoveAppPassword)
	case *storev1.Change_MarkAppPasswordUsed:
		return t.markAppPasswordUsed(k.MarkAppPasswordUsed)
	case *storev1.Change_AddKey:
		return t.addKey(k.AddKey)
	case *storev1.Change_RevokeKey:
		return t.revokeKey(k.RevokeKey)
	case *storev1.Change_RegisterAccount:
		return t.registerAccount(k.RegisterAccount)
	case *storev1.Change_LeaveSource:
		return t.leaveSource(k.LeaveSource)
	case *storev1.Change_AddInvitation:
		return t.addInvitation(k.AddInvitation)
	case *storev1.Change_UseInvitation:
		return t.useInvitation(k.UseInvitation)
	case *storev1.Change_RemoveInvitation:
		return t.removeInvitation(k.RemoveInvitation)
	case *storev1.Change_PutSealedValue:
		return t.putSealedValue(k.PutSealedValue)
	case *storev1.Change_RemoveSealedValue:
		return t.removeSealedValue(k.RemoveSealedValue)
	case *storev1.Change_PutContactGroup:
		return t.putContactGroup(k.PutContactGroup)
	case *storev1.Change_RemoveContactGroup:
		return t.removeContactGroup(k.RemoveContactGroup)
	case *storev1.Change_RestoreAccounts:
		return t.restoreAccounts(k.RestoreAccounts)
	case *storev1.Change_SetRule:
		return t.setRule(k.SetRule)
	case *storev1.Change_SetContact:
		return t.setContact(k.SetContact)
	}
	return t.applySiteKind(c)
}

// applySiteKind applies a change that concerns a node or the whole site.
func (t *Table) applySiteKind(c *storev1.Change) Result {
	switch k := c.Kind.(type) {
	case *storev1.Change_NodeUp:
		return t.nodeUp(k.NodeUp)
	case *storev1.Change_NodeDown:
		return t.nodeDown(k.NodeDown)
	case *storev1.Change_SetDraining:
		return t.setDraining(k.SetDraining)
	case *storev1.Change_RemoveNode:
		return t.removeNode(k.RemoveNode)
	case *storev1.Change_Reap:
		return t.reapNode(k.Reap)
	case *storev1.Change_AddCertificate:
		return t.addCertificate(k.AddCertificate)
	case *storev1.Change_ExcludeNode:
		return t.excludeNode(k.ExcludeNode)
	case *storev1.Change_AdmitNode:
		return t.admitNode(k.AdmitNode)
	case *storev1.Change_UseConsoleToken:
		return t.useConsoleToken(k.UseConsoleToken)
	case *storev1.Change_RevokeConsole:
		return t.revokeConsole(k.RevokeConsole)
	case *storev1.Change_SetSchema:
		return t.setSchema(k.SetSchema)
	case *storev1.Change_NewHistory:
		return t.newHistory(k.NewHistory)
	case *storev1.Change_Digest:
		return t.commitEvent(entry{kind: EventDigest})
	case *storev1.Change_AddBlock:
		return t.addBlock(k.AddBlock)
	case *storev1.Change_RemoveBlock:
		return t.removeBlock(k.RemoveBlock)
	case *storev1.Change_ChangeFeed:
		return t.changeFeed(k.ChangeFeed)
	case *storev1.Change_EndBlocks:
		return t.endBlocks(k.EndBlocks)
	case *storev1.Change_AddReport:
		return t.addReport(k.AddReport)
	case *storev1.Change_ResolveReport:
		return t.resolveReport(k.ResolveReport)
	case *storev1.Change_MarkReportPassedOn:
		return t.markReportPassedOn(k.MarkReportPassedOn)
	case *storev1.Change_DropReports:
		return t.dropReports(k.DropReports)
	}
	// checkReadable has refused unknown kinds.
	panic(fmt.Sprintf("store: a change of the type %T", c.Kind))
}

// nextIndex returns the index that the current change receives if it is
// applied.
func (t *Table) nextIndex() uint64 { return t.current.index + 1 }

// treeNodeOctets estimates how much of its trees a change copies.
const treeNodeOctets = 1024

// commitEvent gives the change the next index, and records its event.
func (t *Table) commitEvent(e entry) Result {
	t.current.index++
	t.current.replaced += uint64(treeNodeOctets + e.before.size() + e.list)
	t.ring.add(e)
	return Result{Applied: true}
}

func refuse(r Refusal, format string, args ...any) Result {
	return Result{Refusal: r, Detail: fmt.Sprintf(format, args...)}
}
