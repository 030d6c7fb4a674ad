package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// hostile is a text with one of each kind that a terminal obeys or that is not
// seen, and with a line that is to pass for one of the program's.
const hostile = "\x1b[31m\a\b\r\u0085\u009b31m\x7f\u00ad\u061c\u200b\u200d\u200e\u202e\u2028\u2029\u2066\ufeff\U000e0041\nFORGED"

// hostileNode answers each call with a message all of whose texts are hostile,
// or if failing with an error that has a hostile message.
func hostileNode(t *testing.T, failing bool) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if failing {
			return status.Error(codes.FailedPrecondition, hostile)
		}
		return answerHostile(stream)
	}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func answerHostile(stream grpc.ServerStream) error {
	path, _ := grpc.MethodFromServerStream(stream)
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return err
	}
	method := d.(protoreflect.MethodDescriptor)
	request, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		return err
	}
	for {
		if err := stream.RecvMsg(request.New().Interface()); err != nil {
			break // all was read
		}
	}
	response, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return err
	}
	m := response.New()
	fill(m, 3)
	return stream.SendMsg(m.Interface())
}

// fill sets all fields, but for the token of a next page.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.Name() == "next_page_token" || f.IsMap():
		case f.IsList() && f.Message() != nil && depth > 0:
			fill(m.Mutable(f).List().AppendMutable().Message(), depth-1)
		case f.IsList() && f.Message() == nil:
			m.Mutable(f).List().Append(value(f))
		case f.Message() != nil && depth > 0:
			fill(m.Mutable(f).Message(), depth-1)
		case f.Message() == nil:
			m.Set(f, value(f))
		}
	}
}

func value(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(hostile)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(1).Number())
	}
	return f.Default()
}

// TestNothingFromOutsideReachesTheTerminal has each command print what a node
// answers, and what the operator's own arguments hold.
func TestNothingFromOutsideReachesTheTerminal(t *testing.T) {
	dir := t.TempDir()
	for _, failing := range []bool{false, true} {
		addr := hostileNode(t, failing)
		for _, command := range [][]string{
			{"status"}, {"doctor"}, {"upgrade", "check"},
			{"account", "list"}, {"account", "add", "alice@example.com", "--password-stdin"}, {"account", "disable", "alice@example.com"},
			{"account", "import", "-"}, {"account", "disable", "a" + hostile}, {"account", hostile}, {"--" + hostile},
			{"session", "list"}, {"session", "kick", "alice@example.com"}, {"session", "kick", hostile},
			{"node", "drain", "n1"}, {"node", "drain", hostile}, {"node", "drain", hostile, "--undo"}, {"node", "remove", hostile, "--yes"}, {"node", "admit", hostile},
			{"block", "list"}, {"block", "add", "@spam.example"}, {"block", "add", hostile}, {"block", "remove", hostile},
			{"leader", "transfer"}, {"domain", "check", hostile},
			{"backup", dir + "/" + hostile}, {"backup", "inspect", dir + "/" + hostile}, {"token", "make", hostile, "--role", "presence:read"},
			{"__complete", "node", "drain", ""},
		} {
			for _, output := range []string{"text", "json"} {
				args := append([]string{"--insecure", "--addr", addr, "--output", output}, command...)
				if command[0] == "__complete" {
					args = append([]string{"__complete", "--insecure", "--addr", addr}, command[1:]...)
				}
				r := simpctl(t, "alice@example.com,secret\n", args...)
				if r.out+r.err == "" {
					t.Errorf("%q said nothing", command)
				}
				checkHarmless(t, command, r.out)
				checkHarmless(t, command, r.err)
				if output == "json" && r.code == 0 && command[0] != "__complete" && !json.Valid([]byte(r.out)) {
					t.Errorf("%q is no JSON: %s", command, r.out)
				}
			}
		}
	}
}

func checkHarmless(t *testing.T, command []string, said string) {
	t.Helper()
	for line := range strings.Lines(said) {
		for _, r := range strings.TrimSuffix(line, "\n") {
			if r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
				t.Errorf("%q prints %U in %q", command, r, line)
				break
			}
		}
		if strings.HasPrefix(strings.TrimSpace(strings.TrimPrefix(line, "simpctl:")), "FORGED") {
			t.Errorf("%q prints a line of another: %q", command, said)
		}
	}
}
