package simpv1

import _ "embed"

//go:embed descriptors.binpb
var descriptors []byte

// Descriptors returns a google.protobuf.FileDescriptorSet of this package's
// .proto files in wire format, with the comments that the generated code does
// not have. The caller must not change it.
func Descriptors() []byte { return descriptors }
