// Generate compiles the .proto files below proto/ with a compiler in pure Go
// and writes what protoc-gen-go and protoc-gen-go-grpc (pinned in go.mod) make
// of them, beside them. With -check it writes nothing and fails where a
// committed file is not what it would write.
//
// It refuses files that break the rules of lint.go, and changes that break
// what has landed: landed.binpb holds the descriptors of all that was ever
// generated, and is written along with the code. simp/v1/descriptors.binpb holds
// those of the services for programs with their comments, for reflection.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	log.SetFlags(0)
	g := generator{}
	flag.BoolVar(&g.check, "check", false, "compare only")
	flag.BoolVar(&g.breaking, "break", false, "take a change that breaks what was generated before; for what no other machine has seen")
	flag.StringVar(&g.root, "root", "proto", "the folder of the .proto files")
	flag.Parse()
	if err := g.run(); err != nil {
		log.Fatal("generate: ", err)
	}
}

// landedFile is where what has landed is kept, below the root.
const landedFile = "landed.binpb"

// documentedFile is where the descriptors for programs are kept with their
// comments, below the root.
const documentedFile = "simp/v1/descriptors.binpb"

type generator struct {
	root            string
	check, breaking bool
}

func (g generator) run() error {
	names, err := protoFiles(g.root)
	if err != nil {
		return err
	}
	files, err := compile(g.root, names)
	if err != nil {
		return err
	}
	written := map[string][]byte{}
	if written[landedFile], err = g.inspect(files); err != nil {
		return err
	}
	if written[documentedFile], err = documented(files); err != nil {
		return err
	}
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := generate(plugin, names, files, written); err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
	}
	return g.write(written)
}

// inspect holds the files to the rules and to what has landed, and returns
// what has landed with them.
func (g generator) inspect(files linker.Files) ([]byte, error) {
	if problems := lint(files); len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "\n"))
	}
	before, err := readLanded(filepath.Join(g.root, landedFile))
	if err != nil {
		return nil, err
	}
	if problems := broken(before, files); len(problems) > 0 && !g.breaking {
		return nil, errors.New(strings.Join(problems, "\n"))
	}
	return landed(files)
}

func (g generator) write(written map[string][]byte) error {
	for name, content := range written {
		path := filepath.Join(g.root, name)
		if !g.check {
			if err := os.WriteFile(path, content, 0o644); err != nil {
				return err
			}
			continue
		}
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, content) {
			return fmt.Errorf("%s is not what the .proto files say; run make generate", path)
		}
	}
	return nil
}

// protoFiles lists the .proto files below root, relative to it, in order.
func protoFiles(root string) (names []string, err error) {
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".proto") {
			name, _ := filepath.Rel(root, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	return names, err
}

func compile(root string, names []string) (linker.Files, error) {
	c := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	return c.Compile(context.Background(), names...)
}

// generate asks one plugin for its files and adds them to written.
func generate(plugin string, names []string, files linker.Files, written map[string][]byte) error {
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names, Parameter: proto.String("paths=source_relative")}
	seen := map[string]bool{}
	for _, f := range files {
		addWithImports(request, f, seen)
	}
	in, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "tool", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, f := range response.File {
		written[f.GetName()] = []byte(f.GetContent())
	}
	return nil
}

// documented returns the descriptors of simp/v1 with the comments of their
// .proto files, which the generated code leaves out.
func documented(files linker.Files) ([]byte, error) {
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range files {
		if strings.HasPrefix(f.Path(), "simp/v1/") {
			set.File = append(set.File, protoutil.ProtoFromFileDescriptor(f))
		}
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(set)
}

// addWithImports adds f's descriptor after those of all that it imports.
func addWithImports(request *pluginpb.CodeGeneratorRequest, f protoreflect.FileDescriptor, seen map[string]bool) {
	if seen[f.Path()] {
		return
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		addWithImports(request, f.Imports().Get(i).FileDescriptor, seen)
	}
	var d *descriptorpb.FileDescriptorProto = protoutil.ProtoFromFileDescriptor(f)
	request.ProtoFile = append(request.ProtoFile, d)
}
