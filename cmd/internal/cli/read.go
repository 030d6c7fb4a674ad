package cli

import (
	"context"
	"io"
)

// Reader returns a reader of r whose Read ends with ctx: a read from a terminal
// or a pipe would otherwise wait for ever. A read that was abandoned takes what
// comes next from r, so r is not to be used afterwards. One goroutine at a time
// may read.
func Reader(ctx context.Context, r io.Reader) io.Reader { return &reader{ctx: ctx, from: r} }

type reader struct {
	ctx   context.Context
	from  io.Reader
	ended error
}

// Read reads from the underlying reader, or returns the context's error.
func (r *reader) Read(p []byte) (int, error) {
	if r.ended != nil {
		return 0, r.ended
	}
	type result struct {
		octets []byte
		err    error
	}
	read := make(chan result, 1)
	go func() { // ends with the process at the latest: nothing else can end a read
		own := make([]byte, len(p)) // p is the caller's again once Read has returned
		n, err := r.from.Read(own)
		read <- result{own[:n], err}
	}()
	select {
	case got := <-read:
		return copy(p, got.octets), got.err
	case <-r.ctx.Done():
		r.ended = r.ctx.Err()
		return 0, r.ended
	}
}
