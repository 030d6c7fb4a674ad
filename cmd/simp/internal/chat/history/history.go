// Package history keeps what was said in a chat in a file.
package history

import (
	"fmt"
	"os"
	"strings"
	"time"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simp/internal/chat"
)

// File is a history file. A nil *File keeps nothing.
type File struct {
	file *os.File
	zone *time.Location
}

// Open opens a history file, which only its owner may read, or makes it.
func Open(path string, zone *time.Location) (*File, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm() != 0o600 {
		err = f.Chmod(0o600)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &File{f, zone}, nil
}

// Close closes the file.
func (f *File) Close() error {
	if f == nil {
		return nil
	}
	return f.file.Close()
}

// AddMessage writes a received message.
func (f *File) AddMessage(a chat.Arrived) error {
	if f == nil {
		return nil
	}
	return f.write(a.At, fmt.Sprintf("<%s> %s", cli.Escape(a.From.String()), oneLine(a.Text)))
}

// AddOutcome writes a message of the user's own, with what became of it.
func (f *File) AddOutcome(at time.Time, o chat.ShowOutcome) error {
	if f == nil {
		return nil
	}
	o.Message = strings.ReplaceAll(o.Message, "\r\n", "\n")
	text := o.Message
	o.Message = ""
	return f.write(at, chat.FormatOutcome(o)+oneLine(text))
}

// oneLine escapes a text, with its line ends, so that each record is one line.
func oneLine(text string) string {
	return cli.EscapeText(strings.ReplaceAll(strings.TrimRight(text, "\r\n"), "\r\n", "\n"))
}

func (f *File) write(at time.Time, line string) error {
	_, err := fmt.Fprintf(f.file, "%s %s\n", at.In(f.zone).Format(time.RFC3339), line)
	return err
}
