package api

import (
	"bytes"
	"errors"
	"io"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
)

// gunzip decompresses requests. If that fails, it returns octets that codec
// knows and that no request begins with: an error would make gRPC end the call
// without a reason.
type gunzip struct{}

// What gunzip returns in place of a request. A field of protobuf can't have the
// number 0.
var (
	notDecompressed  = []byte("\x00not decompressed")
	overDecompressed = []byte("\x00too large when decompressed")
)

var errNotDecompressed = errors.New("it can't be decompressed")

// Type returns the name of the compression.
func (gunzip) Type() string { return gzip.Name }

// Do decompresses a request, up to the size that one may have.
func (gunzip) Do(r io.Reader) ([]byte, error) {
	plain, err := encoding.GetCompressor(gzip.Name).Decompress(r)
	if err != nil {
		return notDecompressed, nil
	}
	b, err := io.ReadAll(io.LimitReader(plain, maxReceive+1))
	switch {
	case err != nil:
		return notDecompressed, nil
	case len(b) > maxReceive:
		return overDecompressed, nil
	}
	return b, nil
}

// checkDecompressed returns the error that gunzip has put in place of a request.
func checkDecompressed(b []byte) error {
	switch {
	case bytes.Equal(b, notDecompressed):
		return errNotDecompressed
	case bytes.Equal(b, overDecompressed):
		return errTooLarge
	}
	return nil
}
