package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	simpv1 "simpd/proto/simp/v1"
)

// journal is the file. A change and its position are one line, written at
// once: there is no moment at which one is there without the other.
type journal struct {
	*os.File
	last line
	err  error // what made it impossible to go on writing
}

// line is a line of the file: what happened, and where to go on after it.
type line struct {
	History string `json:"history,omitempty"` // empty: the present state is not complete yet
	Index   uint64 `json:"index,omitempty"`
	Event   string `json:"event"` // presence, synced, reset or progress
	IMA     string `json:"ima,omitempty"`
	State   string `json:"state,omitempty"`
	Note    string `json:"note,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// openJournal reads where the file ends. A last line that is not whole was
// being written when the program died: it is cut off, and will come again.
func openJournal(name string) (*journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{File: f}
	end, err := j.read()
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return j, nil
}

// read returns where the last whole line ends.
func (j *journal) read() (end int64, err error) {
	for r := bufio.NewReader(j); ; {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		j.last = line{}
		if err := json.Unmarshal(bytes.TrimSpace(text), &j.last); err != nil {
			return 0, fmt.Errorf("after %d octets: %w", end, err)
		}
		end += int64(len(text))
	}
}

// position is where to go on; nil: with the present state.
func (j *journal) position() *simpv1.Position {
	if j.last.History == "" {
		return nil
	}
	return &simpv1.Position{History: j.last.History, Index: j.last.Index}
}

// begin is called before each Watch. A state that was written down in part, and
// that Watch will tell anew from its beginning, is void: a reset says so to
// whoever reads the file.
func (j *journal) begin() error {
	if j.position() != nil || j.last.Event == "" || j.last.Event == "reset" {
		return nil
	}
	return j.write(line{Event: "reset", Reason: "the state before is incomplete, and follows anew"})
}

// add writes down what Watch tells.
func (j *journal) add(r *simpv1.WatchResponse) error {
	next := line{History: r.GetPosition().GetHistory(), Index: r.GetPosition().GetIndex()}
	switch e := r.Event.(type) {
	case *simpv1.WatchResponse_Presence:
		next.Event, next.IMA, next.Note = "presence", e.Presence.Ima, e.Presence.Note
		next.State = strings.ToLower(strings.TrimPrefix(e.Presence.State.String(), "STATE_"))
	case *simpv1.WatchResponse_Synced:
		next.Event = "synced"
	case *simpv1.WatchResponse_Reset_:
		next.Event, next.Reason = "reset", e.Reset_.Reason
	case *simpv1.WatchResponse_Progress:
		next.Event = "progress"
	}
	return j.write(next)
}

func (j *journal) write(next line) error {
	text, err := json.Marshal(next)
	if err == nil {
		_, err = j.Write(append(text, '\n'))
	}
	j.last, j.err = next, err
	return err
}
