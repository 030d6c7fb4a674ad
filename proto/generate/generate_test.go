package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
)

func TestTheCommittedCodeIsWhatTheFilesSay(t *testing.T) {
	if err := (generator{root: "..", check: true}).run(); err != nil {
		t.Fatal(err)
	}
}

// compiled compiles a file of package simp.v1.
func compiled(t *testing.T, source string) linker.Files {
	t.Helper()
	c := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: protocompile.SourceAccessorFromMap(map[string]string{"simp/v1/x.proto": source}),
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := c.Compile(context.Background(), "simp/v1/x.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const good = `syntax = "proto3";
package simp.v1;
// Thing is one.
message Thing {
  string name = 1; // its name
  Colour colour = 2; // its colour
  oneof how {
    string one = 3; // so
    string other = 4; // or so
  }
  repeated string tag = 5; // its tags
}
// Colour is a colour.
enum Colour {
  COLOUR_UNSPECIFIED = 0; // none
  COLOUR_RED = 1; // red
}
message GetRequest {}
message GetResponse {}
// ThingService has things.
service ThingService {
  // Get gets one.
  rpc Get(GetRequest) returns (GetResponse);
}
`

func TestLint(t *testing.T) {
	if problems := lint(compiled(t, good)); len(problems) > 0 {
		t.Fatalf("the good file: %q", problems)
	}
	for _, c := range []struct{ from, to, want string }{
		{"package simp.v1", "package simp.v2", "the package belongs into simp/v2"},
		{"package simp.v1", "package simp", "ends in its version"},
		{"message Thing", "message thing", "PascalCase"},
		{"string name = 1", "string Name = 1", "lower_snake_case"},
		{"// its name", "", "simp.v1.Thing.name: has no comment"},
		{"// Thing is one.", "", "simp.v1.Thing: has no comment"},
		{"COLOUR_RED", "RED", "begins with COLOUR_"},
		{"COLOUR_UNSPECIFIED", "COLOUR_NONE", "COLOUR_UNSPECIFIED"},
		{"service ThingService", "service Things", "ends in Service"},
		{"rpc Get(GetRequest) returns (GetResponse);", "rpc Get(GetRequest) returns (Thing);", "not named after the method"},
		{"rpc Get(GetRequest) returns (GetResponse);", "rpc Get(GetRequest) returns (GetResponse);\n// G is Get.\nrpc G(GetRequest) returns (GetResponse);", "GetRequest is simp.v1.ThingService.Get's already"},
	} {
		text := strings.Join(lint(compiled(t, strings.Replace(good, c.from, c.to, 1))), "\n")
		if !strings.Contains(text, c.want) {
			t.Errorf("%s instead of %s: %q, want %q", c.to, c.from, text, c.want)
		}
	}
}

func TestWhatHasLandedStays(t *testing.T) {
	raw, err := landed(compiled(t, good))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "landed")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{"string name = 1; // its name", "string name = 1; // its name\nstring more = 6; // more", ""},
		{"string name = 1", "string name = 6", "simp.v1.Thing.name has landed, and its number 1 is gone"},
		{"string name = 1", "string title = 1", "is called title"},
		{"string name = 1", "bytes name = 1", "its type is another"},
		{"string name = 1", "repeated string name = 1", "its type is another"},
		{"string name = 1", "optional string name = 1", "optional"},
		{"repeated string tag", "string tag", "its type is another"},
		{"oneof how {", "oneof what {", "oneof"},
		{"COLOUR_RED = 1", "COLOUR_BLUE = 1", "simp.v1.COLOUR_RED has landed"},
		{"message Thing", "message Things", "simp.v1.Thing has landed, and is gone"},
		{"enum Colour {", "enum Hue {", "simp.v1.Colour has landed, and is gone"},
		{"service ThingService", "service OtherService", "simp.v1.ThingService has landed, and is gone"},
		{"rpc Get(", "rpc Take(", "simp.v1.ThingService.Get has landed, and is gone"},
		{"returns (GetResponse)", "returns (stream GetResponse)", "its request or response is another"},
	} {
		before, err := readLanded(file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(good, c.from, c.to, 1)
		if c.from == "enum Colour {" {
			changed = strings.Replace(changed, "Colour colour", "Hue colour", 1)
		}
		text := strings.Join(broken(before, compiled(t, changed)), "\n")
		if c.want == "" && text != "" || !strings.Contains(text, c.want) {
			t.Errorf("%s instead of %s: %q, want %q", c.to, c.from, text, c.want)
		}
	}
}
