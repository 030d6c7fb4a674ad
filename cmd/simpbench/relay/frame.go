package relay

import (
	"encoding/binary"
	"errors"
)

// Kind says what the relay does with a frame.
type Kind byte

// The kinds. To a Login, Watch or Publish the relay answers with a frame of
// the same kind and no name; a Message, Oneway or Ack is handed to whom it
// names, as it stands.
const (
	Login   Kind = 'L' // Name says who the connection is
	Message Kind = 'M' // wants an Ack
	Oneway  Kind = 'O' // wants none
	Ack     Kind = 'A'
	Unknown Kind = 'U' // the relay's answer to a Message for a name that nobody has
	Watch   Kind = 'W' // wants the Publish frames of Name from now on
	Publish Kind = 'P' // goes to all who watch Name, which is the sender's own
)

// MaxFrame is the most octets of a frame after its length.
const MaxFrame = 1 << 20

// Frame is the unit of the relay's protocol: four octets of length (big-endian, of what follows),
// one of kind, one of the name's length, the name, the body.
type Frame struct {
	Kind Kind
	Name []byte
	Body []byte
}

// ErrFrame is a frame that can't be one.
var ErrFrame = errors.New("no frame of the relay")

const (
	lengthSize = 4
	headSize   = 2 // kind, length of the name
)

// Append adds a frame, its body in pieces, to dst. The name has at most 255 octets.
func Append(dst []byte, k Kind, name string, body ...[]byte) []byte {
	n := headSize + len(name)
	for _, b := range body {
		n += len(b)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	dst = append(dst, byte(k), byte(len(name)))
	dst = append(dst, name...)
	for _, b := range body {
		dst = append(dst, b...)
	}
	return dst
}

// Scan reads the first frame in b and returns its length there, or 0 if it is
// not whole yet. The frame's parts are parts of b.
func Scan(b []byte) (Frame, int, error) {
	if len(b) < lengthSize {
		return Frame{}, 0, nil
	}
	n := int(binary.BigEndian.Uint32(b))
	if n < headSize || n > MaxFrame {
		return Frame{}, 0, ErrFrame
	}
	if len(b) < lengthSize+n {
		return Frame{}, 0, nil
	}
	f, err := parse(b[lengthSize : lengthSize+n])
	return f, lengthSize + n, err
}

// parse reads a frame without its length.
func parse(b []byte) (Frame, error) {
	end := headSize + int(b[1])
	if end > len(b) {
		return Frame{}, ErrFrame
	}
	return Frame{Kind: Kind(b[0]), Name: b[headSize:end], Body: b[end:]}, nil
}
