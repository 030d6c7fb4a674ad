package api

import (
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"simpd/store"
)

var update = flag.Bool("update", false, "write the golden files")

// served returns the path of every method that a server answers.
func served(t *testing.T) (paths []string) {
	t.Helper()
	s := New(Config{Table: store.New(store.Config{}), Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { s.Shutdown(t.Context()) })
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			paths = append(paths, "/"+service+"/"+m.Name)
		}
	}
	slices.Sort(paths)
	return paths
}

func TestEveryMethodHasItsPlaceInTheTable(t *testing.T) {
	if have, want := slices.Sorted(maps.Keys(methodTable())), served(t); !slices.Equal(have, want) {
		t.Errorf("the table names\n%s\nand the server answers\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// TestWhoMayCallWhat holds the whole table of methods and roles to what was
// reviewed.
func TestWhoMayCallWhat(t *testing.T) {
	g := &gate{methods: methodTable()}
	var out strings.Builder
	callers := []role{0, presenceRead, messageSend, accountAdmin, clusterAdmin, clusterRead, abuseAdmin}
	fmt.Fprintf(&out, "%-70s %-8s %-14s %-13s %-14s %-14s %-13s %s\n", "method", "nobody", "presence:read", "message:send", "account:admin", "cluster:admin", "cluster:read", "abuse:admin")
	for _, path := range append(served(t), "/simp.v1.PresenceService/Unknown", "simp.v1.PresenceService/Get", "/simp.v1.PresenceService/Get/", "//simp.v1.PresenceService/Get", "") {
		fmt.Fprintf(&out, "%-70q", path)
		for i, roles := range callers {
			may := "-"
			if m, ok := g.methods[path]; ok && (&caller{roles: roles}).hasRole(m.wants) {
				may = "yes"
			}
			fmt.Fprintf(&out, " %-*s", []int{8, 14, 13, 14, 14, 13, 0}[i], may)
		}
		out.WriteByte('\n')
	}
	golden(t, "roles.golden", out.String())
}

// TestClusterReadChangesNothing holds the role that sees everything to methods
// that leave no audit record, as each change does.
func TestClusterReadChangesNothing(t *testing.T) {
	for path, m := range methodTable() {
		if m.wants&clusterRead != 0 && (m.audit || m.changes) {
			t.Errorf("cluster:read may call %s, which changes something", path)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is otherwise; if that is meant, run the test with -update\n%s", file, got)
	}
}

func TestTokenFilesAreReadStrictly(t *testing.T) {
	hash := "sha256:" + strings.Repeat("ab", 32)
	for text, want := range map[string]string{
		"desk":                                  "1: a line is NAME sha256:HEX",
		"\ndesk sha256:abc role=presence:read":  "2: desk: the second word is not sha256:",
		"desk " + hash + " role=presence:write": `1: desk: unknown role "presence:write"`,
		"desk " + hash + " role=known":          `1: desk: unknown role "known"`,
		"desk " + hash + " root=1":              `1: desk: "root" is neither role nor as`,
		"desk " + hash + " as=*":                "1: desk: as=* is not allowed",
		"desk " + hash + " as=nobody":           "1: desk: ",
		"a " + hash + "\nb " + hash:             "2: b has the token of a",
		"desk " + hash + " until=2027-01-01":    "1: desk: invalid until=2027-01-01: must be a time of RFC 3339",
		"desk " + hash + " until=2027-01-01T00:00:00Z until=2028-01-01T00:00:00Z": "1: desk: until is given twice",
	} {
		if _, err := readTokens(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	callers, err := readTokens(strings.NewReader("# a remark\n\ndesk " + hash + " role=presence:read role=message:send as=@example.com as=Bob@example.org # more\n"))
	if err != nil || len(callers) != 1 {
		t.Fatalf("%v %v", callers, err)
	}
	for _, c := range callers {
		if c.name != "desk" || c.roles != presenceRead|messageSend || fmt.Sprint(c.as) != "[@example.com bob@example.org]" {
			t.Errorf("%+v", c)
		}
	}
}
