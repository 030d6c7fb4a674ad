package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"simpd/cmd/testkit/site"
)

// arrows says which of our packages each package may import; a pattern ends
// in * where it means all below. A package that is not named may import nothing
// of ours.
var arrows = map[string][]string{
	"protocol/server":     {"protocol/signature", "protocol", "protocol/histogram", "protocol/budget", "protocol/fairslots", "protocol/httphost", "protocol/netaddr", "protocol/rate", "protocol/secretfile", "protocol/shrink", "protocol/tlsrecord", "protocol/server/internal/*", "protocol/wait", "protocol/tlspolicy"},
	"protocol/tlsrecord":  {"protocol/rate"},
	"protocol/client":     {"protocol", "protocol/signature", "protocol/dns", "protocol/internal/outbound", "protocol/wait"},
	"protocol/federation": {"protocol/signature", "protocol", "protocol/dns", "protocol/internal/outbound", "protocol/budget", "protocol/netaddr", "protocol/rate", "protocol/wait"},

	"protocol/signature":                      {},
	"protocol/internal/outbound":              {"protocol/signature", "protocol", "protocol/dns", "protocol/netaddr", "protocol/tlsrecord", "protocol/wait", "protocol/tlspolicy"},
	"protocol/internal/outbound/outboundtest": {"protocol"},

	"store":                 {"protocol", "protocol/signature", "proto/simp/store/v1"},
	"cluster/router":        {"cluster/policy", "cluster/ratelimit", "protocol/signature", "protocol", "cluster/accounts", "cluster/lookalike", "protocol/histogram", "store", "proto/simp/store/v1", "protocol/budget", "protocol/netaddr", "protocol/rate", "protocol/wait"},
	"cluster/accounts":      {"protocol", "protocol/histogram"},
	"cluster/api":           {"cluster/accounts", "protocol/signature", "protocol", "store", "proto/*", "cluster/api/backup", "cluster/lookalike", "cluster/link/pki", "protocol/budget", "protocol/fairslots", "protocol/netaddr", "protocol/rate", "protocol/secretfile", "protocol/tlsrecord", "protocol/wait"},
	"cluster/accounts/ldap": {"protocol", "cluster/accounts"},
	"cluster/accounts/oidc": {"protocol", "cluster/accounts"},

	"cluster/accounts/callout": {"protocol", "cluster/accounts"},

	"cluster/doctor":          {"proto/simp/v1"},
	"cluster/console":         {"cluster/api", "cluster/doctor", "protocol/httphost", "protocol/netaddr", "protocol/webchat", "proto/*"},
	"cmd/testkit/consoletest": {"cmd/internal/cli"},

	"cluster/blockfeed":        {"protocol"},
	"cluster/scim":             {"protocol", "store"},
	"cluster/policy":           {"protocol", "protocol/histogram"},
	"cluster/policy/policyrpc": {"cluster/policy", "proto/simp/v1"},
	"docs/examples/rspamd":     {"proto/simp/v1"},

	"cluster/ratelimit":     {"protocol/rate", "protocol/wait"},
	"cluster/lookalike":     {"protocol", "store", "proto/simp/store/v1"},
	"cluster/api/backup":    {"proto/simp/store/v1"},
	"cluster/link/pki":      {"protocol/secretfile"},
	"cluster/link/linktest": {"protocol/wait"},
	"cluster/storage":       {"protocol/wait"},
	"cluster/link":          {"cluster/ratelimit", "protocol", "store", "proto/*", "cluster/link/pki", "protocol/budget", "protocol/fairslots", "protocol/netaddr", "protocol/rate", "protocol/shrink", "protocol/wait"},
	"cluster":               {"cluster/ratelimit", "protocol", "protocol/histogram", "store", "proto/*", "cluster/bootstrap", "cluster/link", "cluster/link/pki", "cluster/peerrpc", "cluster/proposals", "cluster/storage", "protocol/budget", "protocol/netaddr", "protocol/rate", "protocol/wait"},
	"cluster/bootstrap":     {"proto/simp/cluster/v1", "cluster/link", "cluster/peerrpc", "cluster/storage"},
	"cluster/peerrpc":       {"protocol", "store", "proto/*"},
	"cluster/proposals":     {"store", "proto/simp/store/v1", "cluster/peerrpc", "protocol/wait"},
	"cluster/clustertest":   {"protocol", "protocol/*", "store", "proto/*", "cluster", "cluster/*"},
	"cmd/internal/cli":      {"protocol"},
	"cmd/simp":              {"protocol", "protocol/signature", "protocol/client", "protocol/dns", "cmd/manual", "cmd/internal/cli", "cmd/simp/internal/*", "protocol/secretfile"},
	"cmd/simpbench":         {"protocol", "store", "proto/*", "cmd/simpbench/*", "cmd/internal/cli"},
	"cmd/simpbench/load":    {"protocol", "protocol/signature", "cmd/simpbench/relay"},
	"cmd/simpctl":           {"cluster/blockfeed", "cluster/doctor", "protocol/signature", "protocol", "proto/*", "cluster/api/backup", "cluster/link/pki", "cmd/manual", "cmd/internal/cli", "protocol/secretfile"},
	"cmd/simpd":             {"*"},
	"cmd/testkit/demo":      {"cmd/testkit/site", "cmd/testkit/world", "cmd/internal/cli", "protocol/secretfile"},
	"cmd/testkit/chattest":  {"cmd/testkit/site", "cmd/internal/cli"},
	"cmd/testkit/webtest":   {"cmd/internal/cli"},
	"cmd/testkit/accounts":  {"cmd/testkit/site", "cmd/internal/cli"},
	"cmd/testkit/examples":  {"protocol", "protocol/client", "cmd/testkit/site", "cmd/internal/cli"},
	"cmd/testkit/attack":    {"protocol", "proto/*", "cmd/testkit/site", "cmd/testkit/isolate", "cmd/testkit/wire", "cmd/testkit/world", "cmd/internal/cli", "protocol/tlsrecord/tlsrecordtest", "protocol/wait"},
	"cmd/testkit/lab":       {"protocol", "proto/simp/v1", "cmd/testkit/site", "cmd/testkit/isolate", "cmd/testkit/wire", "cmd/internal/cli", "protocol/wait"},
	"cmd/testkit/wire":      {"protocol"},
	"example.com/warehouse": {"proto/simp/v1"},
	"proto/simp/v1":         {"proto/*"},
	"proto/simp/cluster/v1": {"proto/*"},

	"cmd/simp/internal/entity":       {"cmd/internal/cli", "protocol/client"},
	"cmd/simp/internal/outcome":      {"protocol"},
	"cmd/simp/internal/trust":        {"protocol", "protocol/client", "protocol/signature", "cmd/simp/internal/keyring"},
	"cmd/simp/internal/keyring":      {"protocol", "protocol/secretfile", "protocol/signature"},
	"cmd/simp/internal/configfile":   {"protocol/secretfile"},
	"cmd/simp/internal/chat":         {"protocol", "cmd/internal/cli", "cmd/simp/internal/entity", "cmd/simp/internal/outcome"},
	"cmd/simp/internal/chat/history": {"cmd/internal/cli", "cmd/simp/internal/chat"},
	"cmd/simp/internal/chat/line":    {"protocol", "cmd/internal/cli", "cmd/simp/internal/chat", "cmd/simp/internal/chat/history"},
	"cmd/simp/internal/chat/screen":  {"protocol", "cmd/internal/cli", "cmd/simp/internal/chat", "cmd/simp/internal/chat/history", "cmd/simp/internal/entity", "cmd/simp/internal/outcome"},
	"cmd/simp/internal/chat/session": {"protocol", "protocol/signature", "protocol/client", "cmd/simp/internal/chat", "cmd/simp/internal/entity", "cmd/simp/internal/keyring", "cmd/simp/internal/trust"},

	"cmd/simp/internal/login": {"protocol", "protocol/secretfile"},

	"protocol/server/internal/netio": {"protocol/fairslots", "protocol/tlsrecord"},
	"protocol/server/internal/sasl":  {"protocol", "protocol/netaddr"},
}

// shut are packages that ours may not import: the language and the table know
// no network, no disk and no chance, and only some speak Raft and gRPC.
var shut = map[string][]string{
	"protocol":         {"net", "os", "sync", "math/rand", "math/rand/v2", "crypto/rand", "google.golang.org/*", "github.com/hashicorp/*"},
	"store":            {"net", "os", "math/rand", "math/rand/v2", "crypto/rand", "google.golang.org/grpc*", "github.com/hashicorp/*"},
	"cluster/accounts": {"net", "os", "google.golang.org/*", "github.com/*"},
	"cluster/router":   {"google.golang.org/grpc*", "github.com/hashicorp/*"},
	"cluster/api":      {"github.com/hashicorp/*", "protocol/secretfile"},
	"cluster/link":     {"github.com/hashicorp/raft-boltdb*", "go.etcd.io/*"},
	"cluster/peerrpc":  {"github.com/hashicorp/*"},
	"cluster":          {"github.com/hashicorp/raft-boltdb*", "go.etcd.io/*"},

	"cmd/simp/internal/chat":        {"net", "os", "sync", "math/rand", "math/rand/v2", "crypto/rand"},
	"cluster/proposals":             {"net", "os", "google.golang.org/grpc*"},
	"protocol/server/internal/sasl": {"net", "os"},
	"protocol/server":               {"syscall", "reflect", "golang.org/x/sys/*"}, // netio may
}

func TestArrows(t *testing.T) {
	ours := listPackages(t, ".", "simpd/...")
	maps.Copy(ours, listPackages(t, "../../docs/examples/warehouse", "./..."))
	if len(ours) < 10 {
		t.Fatalf("only %d packages were found", len(ours))
	}
	for name, imports := range ours {
		for _, i := range imports {
			if own, ok := strings.CutPrefix(i, "simpd/"); ok && !matches(arrows[name], own) {
				t.Errorf("%s imports %s, to which no arrow leads", name, own)
			}
			if matches(shut[name], i) {
				t.Errorf("%s imports %s, which it should know nothing of", name, i)
			}
		}
	}
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if prefix, all := strings.CutSuffix(p, "*"); all {
			return strings.HasPrefix(name, prefix)
		}
		return p == name
	})
}

// listPackages returns what each package of the module in a folder imports, but
// for its tests.
func listPackages(t *testing.T, folder, pattern string) map[string][]string {
	t.Helper()
	var list bytes.Buffer
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", pattern)
	cmd.Dir = folder
	cmd.Stdout = &list
	if _, err := site.Output(cmd, site.LongestBuild); err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for d := json.NewDecoder(&list); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return found
		case err != nil:
			t.Fatal(err)
		}
		found[strings.TrimPrefix(p.ImportPath, "simpd/")] = p.Imports
	}
}
