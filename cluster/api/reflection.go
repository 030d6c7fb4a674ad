package api

import (
	"errors"

	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	simpv1 "simpd/proto/simp/v1"
)

// registerReflection serves server reflection, with the comments of package
// simp.v1.
func registerReflection(s reflection.GRPCServer) {
	options := reflection.ServerOptions{Services: s, DescriptorResolver: newDescriptors()}
	reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(options))
	reflectionv1alpha.RegisterServerReflectionServer(s, reflection.NewServer(options))
}

// descriptors resolves files and names: first among the documented files, then
// among those that are compiled in.
type descriptors struct{ documented *protoregistry.Files }

// newDescriptors reads the documented files. They are part of the program, so
// damage is a fault of its making: then the compiled-in ones serve alone.
func newDescriptors() descriptors {
	set := &descriptorpb.FileDescriptorSet{}
	files := new(protoregistry.Files)
	if proto.Unmarshal(simpv1.Descriptors(), set) != nil {
		return descriptors{files}
	}
	d := descriptors{files}
	for len(set.File) > 0 {
		left := d.addAll(set.File)
		if len(left) == len(set.File) {
			break // an import that is nowhere
		}
		set.File = left
	}
	return d
}

// addAll adds the files whose imports can be resolved, and returns the others.
func (d descriptors) addAll(files []*descriptorpb.FileDescriptorProto) (left []*descriptorpb.FileDescriptorProto) {
	for _, f := range files {
		file, err := protodesc.NewFile(f, d)
		if err == nil {
			err = d.documented.RegisterFile(file)
		}
		if err != nil {
			left = append(left, f)
		}
	}
	return left
}

// FindFileByPath returns the file with that path.
func (d descriptors) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	f, err := d.documented.FindFileByPath(path)
	if errors.Is(err, protoregistry.NotFound) {
		return protoregistry.GlobalFiles.FindFileByPath(path)
	}
	return f, err
}

// FindDescriptorByName returns the descriptor with that full name.
func (d descriptors) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	found, err := d.documented.FindDescriptorByName(name)
	if errors.Is(err, protoregistry.NotFound) {
		return protoregistry.GlobalFiles.FindDescriptorByName(name)
	}
	return found, err
}
