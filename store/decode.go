package store

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits on the contents of an encoded message, so that decoding it takes no
// more than a small multiple of its octets. An empty message takes two
// octets, and about fifty times as many when decoded.
const (
	uncheckedOctets  = 64 << 10 // a message up to this size is decoded without counting
	octetsPerMessage = 5        // on average, at least, within a longer message
	maxDepth         = 16       // of nested messages
)

// decode decodes b into m. Its errors say what is wrong and wrap ErrCorrupt.
func decode(b []byte, m proto.Message) error {
	if len(b) > uncheckedOctets {
		c := messageCounter{max: len(b) / octetsPerMessage}
		if err := c.count(b, m.ProtoReflect().Descriptor(), maxDepth); err != nil {
			return err
		}
	}
	if err := (proto.UnmarshalOptions{RecursionLimit: maxDepth}).Unmarshal(b, m); err != nil {
		return fmt.Errorf("%v: %w", err, ErrCorrupt)
	}
	return nil
}

// messageCounter counts the messages nested in an encoded message without
// decoding them.
type messageCounter struct{ n, max int }

// count counts the messages of type d in b, nested at most depth deep.
func (c *messageCounter) count(b []byte, d protoreflect.MessageDescriptor, depth int) error {
	if c.n++; c.n > c.max {
		return corrupt("it has more than %d messages in %d octets", c.max, c.max*octetsPerMessage)
	}
	if depth == 0 {
		return corrupt("it has more than %d messages within each other", maxDepth)
	}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return corrupt("%v", protowire.ParseError(n))
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return corrupt("field %d of %s: %v", number, d.Name(), protowire.ParseError(n))
		}
		field := d.Fields().ByNumber(number)
		if kind == protowire.BytesType && field != nil && field.Message() != nil {
			inner, _ := protowire.ConsumeBytes(b)
			if err := c.count(inner, field.Message(), depth-1); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	return nil
}
