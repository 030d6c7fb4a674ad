package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// landed is the descriptors of the files and of all that they import, without
// comments.
func landed(files linker.Files) ([]byte, error) {
	set, seen := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	for _, f := range files {
		addLanded(set, f, seen)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(set)
}

func addLanded(set *descriptorpb.FileDescriptorSet, f protoreflect.FileDescriptor, seen map[string]bool) {
	if seen[f.Path()] {
		return
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		addLanded(set, f.Imports().Get(i).FileDescriptor, seen)
	}
	d := proto.Clone(protoutil.ProtoFromFileDescriptor(f)).(*descriptorpb.FileDescriptorProto)
	d.SourceCodeInfo = nil
	set.File = append(set.File, d)
}

// readLanded reads what has landed; nothing, where there is no such file yet.
func readLanded(path string) (*protoregistry.Files, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return new(protoregistry.Files), nil
	}
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(raw, set); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return protodesc.NewFiles(set)
}

// breaks gathers what those who know the landed descriptors would stumble over.
type breaks struct {
	now      linker.Resolver
	problems []string
}

// broken says what of the landed descriptors is missing, or is otherwise:
// names and numbers stay for ever, in messages, on disks and in programs.
func broken(before *protoregistry.Files, files linker.Files) []string {
	b := &breaks{now: files.AsResolver()}
	before.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "simp.") {
			return true // what ours import
		}
		b.messages(f.Messages())
		b.enums(f.Enums())
		for i := range f.Services().Len() {
			b.service(f.Services().Get(i))
		}
		return true
	})
	return b.problems
}

func (b *breaks) fail(d protoreflect.Descriptor, format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf("%s has landed, and %s; names and numbers stay "+
		"(if no other machine has seen it: go run ./proto/generate -break)", d.FullName(), fmt.Sprintf(format, args...)))
}

// find returns what is of that name now; it fails where that is nothing.
func (b *breaks) find(d protoreflect.Descriptor) protoreflect.Descriptor {
	now, err := b.now.FindDescriptorByName(d.FullName())
	if err != nil {
		b.fail(d, "is gone")
		return nil
	}
	return now
}

func (b *breaks) messages(list protoreflect.MessageDescriptors) {
	for i := range list.Len() {
		m := list.Get(i)
		now, ok := b.find(m).(protoreflect.MessageDescriptor)
		if !ok {
			continue
		}
		for i := range m.Fields().Len() {
			b.field(m.Fields().Get(i), now.Fields())
		}
		b.messages(m.Messages())
		b.enums(m.Enums())
	}
}

func (b *breaks) field(f protoreflect.FieldDescriptor, now protoreflect.FieldDescriptors) {
	n := now.ByNumber(f.Number())
	switch {
	case n == nil:
		b.fail(f, "its number %d is gone", f.Number())
	case n.Name() != f.Name():
		b.fail(f, "its number %d is called %s", f.Number(), n.Name())
	case n.Kind() != f.Kind() || n.Cardinality() != f.Cardinality() || typeOf(n) != typeOf(f):
		b.fail(f, "its type is another")
	case n.HasPresence() != f.HasPresence() || oneofOf(n) != oneofOf(f):
		b.fail(f, "it has joined or left a oneof, or is optional or not any more")
	}
}

func typeOf(f protoreflect.FieldDescriptor) protoreflect.FullName {
	switch {
	case f.Message() != nil:
		return f.Message().FullName()
	case f.Enum() != nil:
		return f.Enum().FullName()
	}
	return ""
}

func oneofOf(f protoreflect.FieldDescriptor) protoreflect.Name {
	if o := f.ContainingOneof(); o != nil {
		return o.Name()
	}
	return ""
}

func (b *breaks) enums(list protoreflect.EnumDescriptors) {
	for i := range list.Len() {
		e := list.Get(i)
		now, ok := b.find(e).(protoreflect.EnumDescriptor)
		if !ok {
			continue
		}
		for i := range e.Values().Len() {
			v := e.Values().Get(i)
			if n := now.Values().ByNumber(v.Number()); n == nil || n.Name() != v.Name() {
				b.fail(v, "its number %d is gone, or called otherwise", v.Number())
			}
		}
	}
}

func (b *breaks) service(s protoreflect.ServiceDescriptor) {
	now, ok := b.find(s).(protoreflect.ServiceDescriptor)
	if !ok {
		return
	}
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		n := now.Methods().ByName(m.Name())
		switch {
		case n == nil:
			b.fail(m, "is gone")
		case n.Input().FullName() != m.Input().FullName() || n.Output().FullName() != m.Output().FullName() ||
			n.IsStreamingClient() != m.IsStreamingClient() || n.IsStreamingServer() != m.IsStreamingServer():
			b.fail(m, "its request or response is another")
		}
	}
}
