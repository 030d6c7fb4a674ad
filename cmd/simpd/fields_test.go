package main

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"simpd/cluster"
	"simpd/cluster/api"
	"simpd/cluster/link"
	"simpd/cluster/lookalike"
	"simpd/cluster/router"
	"simpd/protocol/client"
	"simpd/protocol/federation"
	"simpd/protocol/server"
	"simpd/store"
)

// made are the types whose values a function of their package makes.
var made = map[string]reflect.Type{
	"cluster.Node":        reflect.TypeFor[cluster.Node](),
	"api.Server":          reflect.TypeFor[api.Server](),
	"link.Link":           reflect.TypeFor[link.Link](),
	"router.Router":       reflect.TypeFor[router.Router](),
	"client.Client":       reflect.TypeFor[client.Client](),
	"federation.Relay":    reflect.TypeFor[federation.Relay](),
	"server.Server":       reflect.TypeFor[server.Server](),
	"server.Certificates": reflect.TypeFor[server.Certificates](),
	"lookalike.Index":     reflect.TypeFor[lookalike.Index](),
	"store.Table":         reflect.TypeFor[store.Table](),
}

// What was made can't be changed from outside: it has no exported field, nor
// one that is promoted, as a Config's would be.
func TestNothingMadeHasFields(t *testing.T) {
	for name, of := range made {
		for _, field := range reflect.VisibleFields(of) {
			if field.IsExported() {
				t.Errorf("%s.%s can be set from outside", name, field.Name)
			}
		}
	}
	for _, dir := range []string{"cluster", "cluster/api", "cluster/link", "cluster/lookalike", "cluster/router", "protocol/client", "protocol/federation", "protocol/server", "store"} {
		for _, name := range constructed(t, dir) {
			if _, listed := made[name]; !listed {
				t.Errorf("%s is not among those that are looked at", name)
			}
		}
	}
}

// constructed returns the types of a package that its exported functions New…
// and Open… make.
func constructed(t *testing.T, dir string) (names []string) {
	t.Helper()
	files := token.NewFileSet()
	sources, err := filepath.Glob("../../" + dir + "/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	var all []*ast.File
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, source, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	d, err := doc.NewFromFiles(files, all, "simpd/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	makes := func(f *doc.Func) bool { return strings.HasPrefix(f.Name, "New") || strings.HasPrefix(f.Name, "Open") }
	for _, of := range d.Types {
		if slices.ContainsFunc(of.Funcs, makes) {
			names = append(names, d.Name+"."+of.Name)
		}
	}
	return names
}
