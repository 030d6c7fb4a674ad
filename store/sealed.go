package store

import (
	"slices"
	"time"

	storev1 "simpd/proto/simp/store/v1"
)

// SealedValue is a small value that the nodes share. It is encrypted by a key
// that is not in the table. It must not be changed.
type SealedValue struct {
	Name   string
	Octets []byte    // encrypted
	Until  time.Time // it may be dropped from then on
}

const (
	// sealedSchema is the first schema with sealed values.
	sealedSchema = 5
	// maxSealedValues limits the sealed values that have not ended, and
	// maxSealedOctets each of them.
	maxSealedValues = 1000
	maxSealedOctets = 64 << 10
)

// HasSealedValues reports whether the log may hold sealed values.
func (t *Table) HasSealedValues() bool { return t.Schema() >= sealedSchema }

// SealedValue returns the value of that name; nil if there is none.
func (t *Table) SealedValue(name string) *SealedValue {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v, _ := t.current.sealed.Get(name)
	return v
}

// SealedValues returns all sealed values in the order of their names, with
// those that have ended and are not dropped yet.
func (v View) SealedValues() []*SealedValue { return v.sealed.Values() }

// putSealedValue adds or replaces a sealed value, and drops those that have
// ended by the clock of the proposer, which is in the log and so the same on
// all nodes.
func (t *Table) putSealedValue(c *storev1.PutSealedValue) Result {
	if t.current.schema < sealedSchema {
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	}
	v, ok := sealedFromProto(c.GetValue())
	if !ok {
		return refuse(Malformed, "a sealed value without a name, octets or an end, or of more than %d octets", maxSealedOctets)
	}
	var ended []string
	t.current.sealed.Scan(func(name string, old *SealedValue) bool {
		if !t.batchTime.Before(old.Until) {
			ended = append(ended, name)
		}
		return true
	})
	_, exists := t.current.sealed.Get(v.Name)
	if n := t.current.sealed.Len() - len(ended); n >= maxSealedValues && !exists {
		return refuse(TooManySealedValues, "there are %d sealed values already", n)
	}
	for _, name := range ended {
		t.current.sealed.Delete(name)
	}
	t.current.sealed.Set(v.Name, v)
	return t.commitEvent(entry{kind: EventSealedValue})
}

// removeSealedValue removes a sealed value; where there is none it changes
// nothing.
func (t *Table) removeSealedValue(c *storev1.RemoveSealedValue) Result {
	if _, ok := t.current.sealed.Delete(c.GetName()); !ok {
		return Result{}
	}
	return t.commitEvent(entry{kind: EventSealedValue})
}

func (v *SealedValue) record() *storev1.Record {
	return &storev1.Record{Kind: &storev1.Record_SealedValue{SealedValue: &storev1.SealedValue{
		Name: v.Name, Sealed: v.Octets, UntilMs: v.Until.UnixMilli(),
	}}}
}

func sealedFromProto(r *storev1.SealedValue) (*SealedValue, bool) {
	v := &SealedValue{Name: r.GetName(), Octets: slices.Clone(r.GetSealed()), Until: fromMilli(r.GetUntilMs())}
	return v, validName(v.Name) && len(v.Octets) > 0 && len(v.Octets) <= maxSealedOctets && r.GetUntilMs() > 0
}

// addSealedValue restores a sealed value from a snapshot.
func (b *restorer) addSealedValue(record *storev1.SealedValue) error {
	if err := b.checkOrder(partSealed, record.GetName()); err != nil {
		return err
	}
	v, ok := sealedFromProto(record)
	if !ok || b.view.schema < sealedSchema {
		return corrupt("the sealed value %q", record.GetName())
	}
	b.view.sealed.Load(v.Name, v)
	return nil
}

// addSealedValues hashes sealed values. A table without any, as before schema
// 5, keeps its old hash.
func (d *digester) addSealedValues(v View) {
	v.sealed.Scan(func(name string, s *SealedValue) bool {
		d.addString("sealed " + name)
		d.addString(string(s.Octets))
		d.addNumbers(uint64(s.Until.UnixMilli()))
		return true
	})
}
