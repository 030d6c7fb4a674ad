package store

import (
	storev1 "simpd/proto/simp/store/v1"
)

// writeEvents writes the snapshot's events. Its memory use does not depend on
// the length of the listeners.
func (s *Snapshot) writeEvents(rw *recordWriter) {
	if s.format() == formatWhole {
		s.writeWholeEvents(rw)
		return
	}
	w := eventWriter{s, map[*version]string{}}
	for i := s.ring.index; i > s.ring.floor; i-- {
		if !rw.writeRecord(&storev1.Record{Kind: &storev1.Record_Event{Event: w.encodeEvent(i)}}) {
			return
		}
	}
}

// writeWholeEvents writes the events in format 1.
func (s *Snapshot) writeWholeEvents(rw *recordWriter) {
	for from := s.ring.floor; from < s.ring.index; from += eventsAtOnce {
		part, _ := s.ring.sliceAfter(from, eventsAtOnce)
		for _, e := range part.decodeEvents() {
			if !rw.writeRecord(&storev1.Record{Kind: &storev1.Record_Event{Event: wholeEventProto(&e)}}) {
				return
			}
		}
	}
}

func wholeEventProto(e *Event) *storev1.Event {
	r := &storev1.Event{
		Index: e.Index, Kind: uint32(e.Kind), Address: e.Address.String(), Node: e.Node, Visible: e.Visible,
	}
	if e.After != nil {
		r.After = listenerProto(e.After)
	}
	return r
}

// eventWriter encodes the events of format 2, the newest first.
type eventWriter struct {
	*Snapshot
	written map[*version]string // the addresses of versions already written
}

func (w *eventWriter) encodeEvent(index uint64) *storev1.Event {
	k := w.ring.at(index)
	v := k.version()
	if v == nil {
		e := w.ring.eventAt(index, nil)
		return wholeEventProto(&e)
	}
	e := &storev1.Event{
		Index: index, Kind: uint32(k.kind), Node: w.ring.names[k.node], Visible: k.flags&flagVisible != 0,
	}
	w.encodeVersion(e, v)
	w.written[v] = e.Address
	return e
}

// encodeVersion describes v in e.
func (w *eventWriter) encodeVersion(e *storev1.Event, v *version) {
	e.Address = w.addressOf(v)
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
		e.After = listenerProto(packed{f.octets}.unpack())
	}
}

// addressOf returns the address of the listener v.
func (w *eventWriter) addressOf(v *version) string {
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
