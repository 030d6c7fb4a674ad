package api

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxFields limits the fields of a request: a field of two octets may
// take a hundred in memory. No request that is in order has more: see
// maxImport, protocol.MaxWatched and protocol.MaxRecipients.
const maxFields = 4096

// codec is gRPC's own, for requests of a bounded number of fields.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// received is a request to be read, and why it could not be. As far as gRPC
// knows reading succeeds, or it would end the call in words of its own.
type received struct {
	message any
	err     error
}

// Unmarshal reads a request.
func (c codec) Unmarshal(data mem.BufferSlice, m any) error {
	if r, ok := m.(*received); ok {
		r.err = c.unmarshal(data, r.message)
		return nil
	}
	return c.unmarshal(data, m)
}

func (c codec) unmarshal(data mem.BufferSlice, m any) error {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	if err := checkDecompressed(buf.ReadOnlyData()); err != nil {
		return err
	}
	if err := checkFields(buf.ReadOnlyData()); err != nil {
		return err
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{buf}, m)
}

func checkFields(b []byte) error {
	for fields := 0; len(b) > 0; fields++ {
		_, _, n := protowire.ConsumeField(b)
		switch {
		case n < 0:
			return protowire.ParseError(n)
		case fields == maxFields:
			return fmt.Errorf("the request has more than %d fields", maxFields)
		}
		b = b[n:]
	}
	return nil
}
