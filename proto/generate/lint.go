package main

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// linter gathers what breaks the rules: those that the users of Protocol
// Buffers know as buf's STANDARD. For simp.v1, which strangers read, these are
// the names of services, requests and responses too, and a comment on
// everything that is not a method's request or response.
type linter struct {
	problems []string
	public   bool // the file is of simp.v1
	used     map[protoreflect.FullName]protoreflect.FullName
}

func lint(files linker.Files) []string {
	l := &linter{used: map[protoreflect.FullName]protoreflect.FullName{}}
	for _, f := range files {
		l.file(f)
	}
	return l.problems
}

func (l *linter) fail(d protoreflect.Descriptor, format string, args ...any) {
	at := d.ParentFile().SourceLocations().ByDescriptor(d)
	l.problems = append(l.problems, fmt.Sprintf("%s:%d: %s: %s", d.ParentFile().Path(), at.StartLine+1, d.FullName(), fmt.Sprintf(format, args...)))
}

func (l *linter) file(f protoreflect.FileDescriptor) {
	l.public = f.Package() == "simp.v1"
	if folder := strings.ReplaceAll(string(f.Package()), ".", "/"); folder != path.Dir(f.Path()) {
		l.fail(f, "the package belongs into %s", folder)
	}
	if !matches(f.Package(), `^[a-z.]+\.v[0-9]+$`) {
		l.fail(f, "a package's name ends in its version")
	}
	for i := range f.Messages().Len() {
		l.message(f.Messages().Get(i))
	}
	for i := range f.Enums().Len() {
		l.enum(f.Enums().Get(i))
	}
	for i := range f.Services().Len() {
		l.service(f.Services().Get(i))
	}
}

func (l *linter) message(m protoreflect.MessageDescriptor) {
	if m.IsMapEntry() {
		return
	}
	l.named(m, `^([A-Z][a-z0-9]*)+$`, "a message's name is in PascalCase")
	if !matches(m.FullName(), `(Request|Response)$`) {
		l.explained(m)
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		l.named(f, `^[a-z][a-z0-9]*(_[a-z0-9]+)*$`, "a field's name is in lower_snake_case")
		l.explained(f)
	}
	for i := range m.Messages().Len() {
		l.message(m.Messages().Get(i))
	}
	for i := range m.Enums().Len() {
		l.enum(m.Enums().Get(i))
	}
}

func (l *linter) enum(e protoreflect.EnumDescriptor) {
	l.named(e, `^([A-Z][a-z0-9]*)+$`, "an enum's name is in PascalCase")
	l.explained(e)
	prefix := screaming(string(e.Name())) + "_"
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		if !strings.HasPrefix(string(v.Name()), prefix) {
			l.fail(v, "a value's name begins with %s", prefix)
		}
		if v.Number() == 0 && string(v.Name()) != prefix+"UNSPECIFIED" {
			l.fail(v, "the value 0 is %sUNSPECIFIED", prefix)
		}
		l.explained(v)
	}
}

// screaming writes PascalCase as UPPER_SNAKE_CASE.
func screaming(name string) string {
	return strings.ToUpper(regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(name, "${1}_${2}"))
}

func (l *linter) service(s protoreflect.ServiceDescriptor) {
	if !l.public {
		return
	}
	l.named(s, `^([A-Z][a-z0-9]*)+Service$`, "a service's name ends in Service")
	l.explained(s)
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		l.named(m, `^([A-Z][a-z0-9]*)+$`, "a method's name is in PascalCase")
		l.explained(m)
		l.own(m, m.Input(), "Request")
		l.own(m, m.Output(), "Response")
	}
}

// own wants a request or a response to be one method's alone: so each can grow.
func (l *linter) own(m protoreflect.MethodDescriptor, of protoreflect.MessageDescriptor, suffix string) {
	name := string(of.Name())
	if !strings.HasSuffix(name, suffix) || !strings.HasPrefix(name, string(m.Name())) {
		l.fail(m, "%s is not named after the method, with %s at its end", name, suffix)
	}
	if by := l.used[of.FullName()]; by != "" {
		l.fail(m, "%s is %s's already", name, by)
	}
	l.used[of.FullName()] = m.FullName()
}

func (l *linter) named(d protoreflect.Descriptor, form, rule string) {
	if !matches(protoreflect.FullName(d.Name()), form) {
		l.fail(d, "%s", rule)
	}
}

func (l *linter) explained(d protoreflect.Descriptor) {
	at := d.ParentFile().SourceLocations().ByDescriptor(d)
	if l.public && strings.TrimSpace(at.LeadingComments+at.TrailingComments) == "" {
		l.fail(d, "has no comment")
	}
}

func matches(name protoreflect.FullName, form string) bool {
	return regexp.MustCompile(form).MatchString(string(name))
}
