package api

import "encoding/binary"

// The parts of HTTP/2 (RFC 9113, section 6) that tell when a call begins, how
// much of it has arrived or gone out, and when it has ended.
const (
	frameHeaderSize = 9
	prefaceSize     = 24 // octets of the client's connection preface

	frameData     = 0x0
	frameHeaders  = 0x1
	frameReset    = 0x3
	flagEndStream = 0x1
	flagPadded    = 0x8

	prefixSize = 5 // octets of gRPC before each message: whether it is compressed, and its size
)

// frame holds the header of an HTTP/2 frame.
type frame struct {
	length      int
	kind, flags byte
	stream      uint32
}

// frames finds the frames in one direction of a connection. What is not a
// frame of HTTP/2 makes it tell nonsense, and gRPC close the connection.
type frames struct {
	skip   int // octets before the next frame header
	header [frameHeaderSize]byte
	have   int    // octets of header
	count  uint64 // of the frames whose header was found

	last frame // the frame that the octets before the next header are of
	pad  int   // of last: octets of padding at its end; -1: not known yet
}

// parse calls found for each frame whose header ends in b, and data, unless it is
// nil, for what b holds of DATA frames.
func (f *frames) parse(b []byte, found func(frame), data func(stream uint32, b []byte)) {
	for len(b) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(b))
			if f.last.kind == frameData && data != nil {
				data(f.last.stream, f.stripPadding(b[:n]))
			}
			f.skip -= n
			b = b[n:]
			continue
		}
		n := copy(f.header[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have < frameHeaderSize {
			return
		}
		f.have = 0
		f.count++
		h := parseFrame(f.header)
		f.skip, f.last, f.pad = h.length, h, 0
		if h.flags&flagPadded != 0 {
			f.pad = -1
		}
		found(h)
	}
}

// hasFirst reports whether all of the first frame has come.
func (f *frames) hasFirst() bool { return f.count > 1 || f.count == 1 && f.skip == 0 }

// stripPadding returns what of b, the next octets of a DATA frame, is data.
func (f *frames) stripPadding(b []byte) []byte {
	left := f.skip
	if f.pad < 0 {
		f.pad = int(b[0])
		b, left = b[1:], left-1
	}
	return b[:max(0, min(len(b), left-f.pad))]
}

// messages finds the messages in the data of a call.
type messages struct {
	left   int // octets of the present message that are still to come
	prefix [prefixSize]byte
	have   int // octets of prefix
}

// countMessages reports whether b, the next octets, begins a message of more than most.
func (m *messages) countMessages(b []byte, most int) (tooLarge bool) {
	for len(b) > 0 {
		if m.left > 0 {
			n := min(m.left, len(b))
			m.left -= n
			b = b[n:]
			continue
		}
		n := copy(m.prefix[m.have:], b)
		m.have += n
		b = b[n:]
		if m.have == prefixSize {
			m.have, m.left = 0, int(binary.BigEndian.Uint32(m.prefix[1:]))
			tooLarge = tooLarge || m.left > most
		}
	}
	return tooLarge
}

func parseFrame(h [frameHeaderSize]byte) frame {
	return frame{
		length: int(h[0])<<16 | int(h[1])<<8 | int(h[2]), kind: h[3], flags: h[4],
		stream: binary.BigEndian.Uint32(h[5:]) &^ (1 << 31),
	}
}

// endsStream reports whether the frame is the last of its sender's in a stream.
func (f frame) endsStream() bool {
	return f.kind == frameReset || (f.kind == frameData || f.kind == frameHeaders) && f.flags&flagEndStream != 0
}
