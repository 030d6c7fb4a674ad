package store

import (
	storev1 "simpd/proto/simp/store/v1"
)

// writeEvents writes the events that the snapshot keeps. What it takes of
// memory does not depend on how long the listeners are.
func (s *Snapshot) writeEvents(rw *recordWriter) {
	if s.format() == formatWhole {
		s.writeWholeEvents(rw)
		return
	}
	w := eventWriter{s, map[*version]string{}}
	for i := s.ring.index; i > s.ring.floor; i-- {
		if !rw.record(&storev1.Record{Kind: &storev1.Record_Event{Event: w.event(i)}}) {
			return
		}
	}
}

// writeWholeEvents writes the events in format 1.
func (s *Snapshot) writeWholeEvents(rw *recordWriter) {
	for from := s.ring.floor; from < s.ring.index; from += eventsAtOnce {
		part, _ := s.ring.after(from, eventsAtOnce)
		for _, e := range part.events() {
			if !rw.record(&storev1.Record{Kind: &storev1.Record_Event{Event: wholeEvent(&e)}}) {
				return
			}
		}
	}
}

func wholeEvent(e *Event) *storev1.Event {
	r := &storev1.Event{
		Index: e.Index, Kind: uint32(e.Kind), Address: e.Address.String(), Node: e.Node, Visible: e.Visible,
	}
	if e.After != nil {
		r.After = listenerRecord(e.After)
	}
	return r
}

// eventWriter makes the events of format 2, the newest first.
type eventWriter struct {
	*Snapshot
	written map[*version]string // whose
}

func (w *eventWriter) event(index uint64) *storev1.Event {
	k := w.ring.place(index)
	v := k.version()
	if v == nil {
		e := w.ring.event(index, nil)
		return wholeEvent(&e)
	}
	e := &storev1.Event{
		Index: index, Kind: uint32(k.kind), Node: w.ring.names[k.node], Visible: k.flags&keptVisible != 0,
	}
	w.setVersion(e, v)
	w.written[v] = e.Address
	return e
}

// setVersion says in e what v is.
func (w *eventWriter) setVersion(e *storev1.Event, v *version) {
	e.Address = w.address(v)
	f := v.form.Load()
	present := w.view.listeners.get(e.Address)
	switch _, isWritten := w.written[v]; {
	case isWritten:
		e.Same = true
	case f.newer != nil && f.newer.first > w.view.index:
		e.Present = true // the change that replaced it came after the snapshot
	case f.newer != nil:
		e.Undo = []byte(packed{f.octets}.fields())
	case f.octets == present.first:
		e.Present = true
	default:
		e.After = listenerRecord(packed{f.octets}.unpack())
	}
}

// address returns whose listener v is.
func (w *eventWriter) address(v *version) string {
	for {
		if address, ok := w.written[v]; ok {
			return address
		}
		f := v.form.Load()
		if f.newer == nil {
			return packed{f.octets}.address()
		}
		v = f.newer
	}
}
