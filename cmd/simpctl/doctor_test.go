package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"simpd/cluster/doctor"
	simpv1 "simpd/proto/simp/v1"
)

// threeNodes is a site that is well, changed by change.
func threeNodes(change func(r *simpv1.StatusResponse)) *simpv1.StatusResponse {
	r := &simpv1.StatusResponse{Leader: "n2", Schema: 1, SpareVoters: 1, Accounts: 1, Health: simpv1.Health_HEALTH_HEALTHY, Position: &simpv1.Position{Index: 5000}}
	for i := range 3 {
		r.Node = append(r.Node, &simpv1.NodeStatus{
			Id: fmt.Sprintf("n%d", i+1), State: simpv1.NodeState_NODE_STATE_READY, Role: simpv1.NodeRole_NODE_ROLE_FOLLOWER,
			Version: "v1", Index: 5000, MinSchema: 1, MaxSchema: 1, Started: &timestamppb.Timestamp{Seconds: int64(100 - i)},
		})
	}
	r.Node[1].Role = simpv1.NodeRole_NODE_ROLE_LEADER
	change(r)
	return r
}

func TestAssess(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *simpv1.StatusResponse)
		next   string
		why    string // empty: it is safe
	}{
		{"all are well", func(*simpv1.StatusResponse) {}, "n3", ""},
		{"a follower is new", func(r *simpv1.StatusResponse) { r.Node[0].Version = "v2" }, "n3", ""},
		{"only the leader is old", func(r *simpv1.StatusResponse) { r.Node[0].Version, r.Node[2].Version = "v2", "v2" }, "n2", ""},
		{"a replica comes first", func(r *simpv1.StatusResponse) { r.Node[0].Role = simpv1.NodeRole_NODE_ROLE_NONVOTER }, "n1", ""},
		{"one drains", func(r *simpv1.StatusResponse) { r.Node[0].State = simpv1.NodeState_NODE_STATE_DRAINING }, "n3", "n1 is draining"},
		{"one is down", func(r *simpv1.StatusResponse) {
			r.Node[0].State, r.Node[0].Problem, r.SpareVoters = simpv1.NodeState_NODE_STATE_DOWN, "it does not answer", 0
		}, "n3", "n1 is not ready: it does not answer"},
		{"one is behind", func(r *simpv1.StatusResponse) { r.Node[2].Index = 100 }, "n3", "n3 is 4900 changes behind"},
		{"nobody leads", func(r *simpv1.StatusResponse) { r.Leader = "" }, "n3", "no leader is known"},
		{"one is too old", func(r *simpv1.StatusResponse) { r.Schema, r.Node[1].MaxSchema, r.Node[2].MaxSchema = 2, 2, 2 }, "n3", "n1 reads the schemas 1 to 1"},
		{"no spare voter", func(r *simpv1.StatusResponse) { r.SpareVoters = 0 }, "n3", "can't lose a voter"},
	} {
		r := assessReadiness(threeNodes(tt.change))
		if r.Next != tt.next || r.Safe != (tt.why == "") || !strings.Contains(strings.Join(r.Reasons, "\n"), tt.why) {
			t.Errorf("%s: %+v, want %s next, because %q", tt.name, r, tt.next, tt.why)
		}
	}
	all := func(r *simpv1.StatusResponse) {
		for _, n := range r.Node {
			n.MaxSchema = 2
		}
	}
	if r := assessReadiness(threeNodes(all)); r.Raises != 2 {
		t.Errorf("all read schema 2: %+v", r)
	}
}

// expiring has the first node tell of something that ends.
func expiring(kind simpv1.ExpiryKind, end time.Time) func(r *simpv1.StatusResponse) {
	return func(r *simpv1.StatusResponse) {
		r.Node[0].Expiring = []*simpv1.Expiry{{Kind: kind, Name: "x", Id: "1f", NotAfter: timestamppb.New(end)}}
	}
}

// unformed has the nodes be part of no site yet, with what each expects.
func unformed(r *simpv1.StatusResponse, expect ...uint32) {
	r.AnsweredBy, r.Leader, r.Health, r.Summary = "n2", "", simpv1.Health_HEALTH_NOT_FORMED, "no site has been formed yet: …"
	for i, n := range r.Node {
		n.BootstrapExpect, n.State, n.Role = expect[i], simpv1.NodeState_NODE_STATE_STARTING, simpv1.NodeRole_NODE_ROLE_UNSPECIFIED
		n.Problem = "waiting to form a site"
	}
}

// differ has n1 have another value of a setting than n2 and n3.
func differ(setting, most, one string) []*simpv1.SettingDifference {
	return []*simpv1.SettingDifference{{Setting: setting, Value: []*simpv1.SettingValue{
		{Value: most, Node: []string{"n2", "n3"}}, {Value: one, Node: []string{"n1"}},
	}}}
}

func TestExamine(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name       string
		change     func(r *simpv1.StatusResponse)
		what, mend string
		hint       bool
	}{
		{"well", func(*simpv1.StatusResponse) {}, "", "", false},
		{"down", func(r *simpv1.StatusResponse) { r.Node[0].State = simpv1.NodeState_NODE_STATE_DOWN }, "does not answer", "simpctl node remove n1", false},
		{"cut off", func(r *simpv1.StatusResponse) { r.Node[0].State = simpv1.NodeState_NODE_STATE_CUT_OFF }, "out of touch", "network", false},
		{"draining", func(r *simpv1.StatusResponse) { r.Node[0].State = simpv1.NodeState_NODE_STATE_DRAINING }, "takes no clients", "drain n1 --undo", false},
		{"starting", func(r *simpv1.StatusResponse) {
			r.Node[0].State, r.Node[0].Problem = simpv1.NodeState_NODE_STATE_STARTING, "catching up"
		}, "catching up", "journalctl", false},
		{"behind", func(r *simpv1.StatusResponse) { r.Node[0].Index = 1 }, "4999 changes behind", "disk", false},
		{"too old", func(r *simpv1.StatusResponse) { r.Schema = 2 }, "up to schema 1", "newer version", false},
		{"no majority", func(r *simpv1.StatusResponse) {
			r.Health, r.Node[0].State = simpv1.Health_HEALTH_NO_MAJORITY, simpv1.NodeState_NODE_STATE_DOWN
		}, "the majority is lost: n1", "simpd recover", false},
		{"two voters", func(r *simpv1.StatusResponse) { r.Node = r.Node[:2] }, "2 voters", "add a node", true},
		{"one voter", func(r *simpv1.StatusResponse) { r.Node = r.Node[1:2] }, "one voter", "add two", true},
		{"versions", func(r *simpv1.StatusResponse) { r.Node[0].Version = "v0" }, "different versions", "upgrade check", true},
		{"a node's certificate ends in 29 days", expiring(simpv1.ExpiryKind_EXPIRY_KIND_NODE, now.Add(29*day)), "the node's certificate ends in 29 days", "tls init --node n1=", true},
		{"a node's certificate ends in 7 days", expiring(simpv1.ExpiryKind_EXPIRY_KIND_NODE, now.Add(7*day)), "ends in 7 days, on 2027-01-08", "keys.md", false},
		{"an authority ends tomorrow", expiring(simpv1.ExpiryKind_EXPIRY_KIND_CLUSTER_CA, now.Add(day)), "authority of nodes and programs (x) ends in 1 day", "keys.md", false},
		{"a certificate for clients has ended", expiring(simpv1.ExpiryKind_EXPIRY_KIND_SITE, now), "for clients of x has ended, on 2027-01-01", "renew", false},
		{"one that ACME has not renewed", expiring(simpv1.ExpiryKind_EXPIRY_KIND_ACME, now.Add(2*day)), "the certificate for clients of x, which ACME renews, ends in 2 days", "let the authority in: docs/operators/acme.md", false},
		{"one in its chain", expiring(simpv1.ExpiryKind_EXPIRY_KIND_SITE_CA, now), "the authority x in the chain", "issuer", false},
		{"an authority of other sites", expiring(simpv1.ExpiryKind_EXPIRY_KIND_FEDERATION_CA, now.Add(day/2)), "ends in less than a day", "successor", false},
		{"a program's certificate", expiring(simpv1.ExpiryKind_EXPIRY_KIND_PROGRAM, now.Add(8*day)), "of the program x ends in 8 days", "tls init --service x=", true},
		{"a token", expiring(simpv1.ExpiryKind_EXPIRY_KIND_TOKEN, now.Add(8*day)), "token of the program x (sha256:1f…) ends in 8 days", "token make", true},
		{"not valid yet", func(r *simpv1.StatusResponse) {
			expiring(simpv1.ExpiryKind_EXPIRY_KIND_SITE, now.Add(100*day))(r)
			r.Node[0].Expiring[0].NotBefore = timestamppb.New(now.Add(day))
		}, "not valid before 2027-01-02T00:00:00Z", "clock", false},
		{"a domain without certificate", func(r *simpv1.StatusResponse) { r.Node[0].UncoveredDomain = []string{"example.org"} }, "names example.org", "tls_cert", false},
		{"a certificate for nothing", func(r *simpv1.StatusResponse) { r.Node[0].ForeignCertificate = []string{"old.example"} }, "certificate for old.example", "tls_cert", true},
		{"no site yet", func(r *simpv1.StatusResponse) { unformed(r, 3, 3, 5) }, "no site has been formed yet", "the same bootstrap_expect", false},
		{"no site yet, as all wait for one", func(r *simpv1.StatusResponse) { unformed(r, 1, 1, 1) }, "formed yet: …; n2 is waiting", "to 1 on one that has no join", false},
		{"no site yet, and nodes are missing", func(r *simpv1.StatusResponse) { unformed(r, 5, 5, 5) }, "no site has been formed yet", "start all nodes", false},
		{"no site yet, and a node does not answer", func(r *simpv1.StatusResponse) {
			unformed(r, 3, 3, 3)
			r.Node[2].State, r.Node[2].ClusterAddress = simpv1.NodeState_NODE_STATE_DOWN, "10.0.0.3:7470"
		}, "no site has been formed yet", "reach n3 at 10.0.0.3:7470", false},
		{"another domain", func(r *simpv1.StatusResponse) {
			r.Difference = differ("domain", "example.com, example.org", "example.com")
		}, "domain is not the same on all nodes (n2, n3: example.com, example.org; n1: example.com); users", "systemctl restart simpd", false},
		{"another file of tokens", func(r *simpv1.StatusResponse) { r.Difference = differ("token_file", "3 tokens", "2 tokens") }, "token_file is not the same", "systemctl reload simpd", false},
		{"clients' address unknown", func(r *simpv1.StatusResponse) { r.Node[0].UnsetAddress = []string{"advertise_client"} }, "does not know where clients reach it", "set advertise_client to", true},
		{"clients' address of a node alone unknown", func(r *simpv1.StatusResponse) {
			r.Node = r.Node[1:2]
			r.Node[0].UnsetAddress = []string{"advertise_client"}
		}, "one voter", "add two", true},
		{"an account source", func(r *simpv1.StatusResponse) {
			r.Node[1].Warning = []string{"the account source corp: ldaps://a fails"}
		}, "the account source corp", "accounts.md", false},
		{"empty", func(r *simpv1.StatusResponse) { r.Accounts = 0 }, "no accounts", "account add", true},
	} {
		all := doctor.Examine(threeNodes(tt.change), now)
		if tt.what == "" && len(all) == 0 {
			continue
		}
		if len(all) == 0 || !strings.Contains(all[0].What, tt.what) || !strings.Contains(all[0].Mend, tt.mend) || all[0].Hint != tt.hint {
			t.Errorf("%s: %+v", tt.name, all)
		}
	}
}

func TestAnAuthorityThatAllNodesHaveIsOneFinding(t *testing.T) {
	end := time.Now().Add(time.Hour)
	all := doctor.Examine(threeNodes(func(r *simpv1.StatusResponse) {
		expiring(simpv1.ExpiryKind_EXPIRY_KIND_CLUSTER_CA, end)(r)
		r.Node[1].Expiring, r.Node[2].Expiring = r.Node[0].Expiring, r.Node[0].Expiring
	}), time.Now())
	if len(all) != 1 || all[0].About != "n1, n2, n3" {
		t.Errorf("%+v", all)
	}
}

func TestDoctorAndUpgradeCheck(t *testing.T) {
	s := newSite(t)
	s.ok("x", "account", "add", "alice@example.com", "--password-stdin")
	if got := s.ok("", "upgrade", "check"); !strings.Contains(got, "safe: the next node is n1") {
		t.Errorf("upgrade check: %s", got)
	}
	if got := s.ok("", "doctor"); !strings.Contains(got, "hint") || !strings.Contains(got, "simpctl upgrade check") {
		t.Errorf("doctor: %s", got)
	}
	s.down = true
	if r := s.do("", "upgrade", "check"); r.code != 1 || !strings.Contains(r.out, "no: n3 is not ready") {
		t.Errorf("upgrade check with a node down: %+v", r)
	}
	if r := s.do("", "upgrade", "check", "--output", "json"); r.code != 1 || !strings.Contains(r.out, `"safe": false`) {
		t.Errorf("upgrade check with a node down: %+v", r)
	}
	if r := s.do("", "doctor", "--output", "json"); r.code != 1 || !strings.Contains(r.out, "simpctl node remove n3") {
		t.Errorf("doctor with a node down: %+v", r)
	}
}

// TestReloadedSettings: doctor advises a reload for those settings that a node
// reads again, as they are documented, and for no others.
func TestReloadedSettings(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` ⟳").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, strings.ReplaceAll(row[1], "-", "_"))
	}
	if len(documented) == 0 || !slices.Equal(documented, doctor.Reloaded) {
		t.Errorf("doctor.Reloaded: %q, documented: %q", doctor.Reloaded, documented)
	}
}
