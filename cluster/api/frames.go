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
)

// frame is what the header of a frame says.
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
	have   int // octets of header
}

// feed calls found for each frame whose header ends in b.
func (f *frames) feed(b []byte, found func(frame)) {
	for len(b) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(b))
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
		h := parseFrame(f.header)
		f.skip = h.length
		found(h)
	}
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
