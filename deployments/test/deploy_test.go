// Package deploy reads what is in deployments/ as its users' tools do. It is
// a module of its own, so that the server's does not carry theirs.
package deploy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../compose/compose.yaml"}, cli.WithName("simpd"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	names := project.ServiceNames()
	slices.Sort(names)
	if !slices.Equal(names, []string{"n1", "n2", "n3"}) {
		t.Errorf("services %v", names)
	}
	for _, s := range project.Services {
		if id := s.Environment["SIMPD_NODE_ID"]; id == nil || *id != s.Name {
			t.Errorf("%s: SIMPD_NODE_ID is %v", s.Name, id)
		}
		if s.StopGracePeriod == nil {
			t.Errorf("%s has no time to drain", s.Name)
		}
	}
}

// kinds are what the chart may render.
var kinds = map[string]func() any{
	"StatefulSet":         func() any { return new(appsv1.StatefulSet) },
	"Service":             func() any { return new(corev1.Service) },
	"PodDisruptionBudget": func() any { return new(policyv1.PodDisruptionBudget) },
	"NetworkPolicy":       func() any { return new(networkingv1.NetworkPolicy) },
	"Pod":                 func() any { return new(corev1.Pod) },
}

// renderings are the files of rendered manifests, with the labels of the pods
// that reach the ports of programs and of metrics there; nil: no pod does.
var renderings = map[string]map[string]podLabels{
	"one.yaml":   nil,
	"three.yaml": nil,
	"five.yaml":  {"grpc": {"app": "pager"}, "http": {"app": "prometheus"}},
}

type podLabels = map[string]string

func TestChart(t *testing.T) {
	dir := os.Getenv("MANIFESTS")
	if dir == "" {
		t.Fatal("MANIFESTS names the folder of rendered manifests; deployments/test/run makes it")
	}
	for name, reach := range renderings {
		t.Run(name, func(t *testing.T) {
			objects := decodeAll(t, filepath.Join(dir, name))
			for kind := range kinds {
				if found := len(objects[kind]) > 0; !found && kind != "Pod" {
					t.Errorf("there is no %s", kind)
				}
			}
			if test := len(objects["Pod"]) > 0; test != (reach != nil) {
				t.Errorf("helm test has a pod: %v; programs are let in: %v", test, reach != nil)
			}
			for _, o := range objects["StatefulSet"] {
				checkStatefulSet(t, o.(*appsv1.StatefulSet))
			}
			for _, o := range objects["NetworkPolicy"] {
				checkNetworkPolicy(t, o.(*networkingv1.NetworkPolicy), reach)
			}
		})
	}
}

// decodeAll decodes each manifest strictly: a field that Kubernetes does not
// know is an error.
func decodeAll(t *testing.T, file string) map[string][]any {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string][]any{}
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		var head struct {
			Kind string `json:"kind"`
		}
		if err := strict.Unmarshal(document, &head); err != nil {
			t.Fatal(err)
		}
		if head.Kind == "" {
			continue // comments only
		}
		object, known := kinds[head.Kind]
		if !known {
			t.Errorf("%s: a kind that is not checked", head.Kind)
			continue
		}
		decoded := object()
		if err := strict.UnmarshalStrict(document, decoded); err != nil {
			t.Errorf("%s: %v", head.Kind, err)
		}
		objects[head.Kind] = append(objects[head.Kind], decoded)
	}
}

func checkStatefulSet(t *testing.T, set *appsv1.StatefulSet) {
	t.Helper()
	pod := set.Spec.Template.Spec
	c := pod.Containers[0]
	if pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot {
		t.Error("the pod may run as root")
	}
	if c.ReadinessProbe == nil || c.LivenessProbe == nil || c.Lifecycle == nil {
		t.Error("a probe or the hook before the stop is missing")
	}
	for _, e := range c.Env {
		if e.Name == "SIMPD_BOOTSTRAP_EXPECT" && !strings.Contains("135", e.Value) {
			t.Errorf("bootstrap-expect %s", e.Value)
		}
	}
}

// checkNetworkPolicy checks that the ports of programs and of metrics are
// reached by the pods of reach alone. To Kubernetes a rule without peers, and a
// selector without labels, are everybody.
func checkNetworkPolicy(t *testing.T, policy *networkingv1.NetworkPolicy, reach map[string]podLabels) {
	t.Helper()
	if !slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
		t.Error("the policy is not of what comes in")
	}
	let := map[string]podLabels{}
	for _, rule := range policy.Spec.Ingress {
		for _, port := range privatePorts(rule.Ports) {
			if len(rule.From) != 1 || rule.From[0].PodSelector == nil || len(rule.From[0].PodSelector.MatchLabels) == 0 {
				t.Errorf("port %s is open to %v", port, rule.From)
				continue
			}
			let[port] = rule.From[0].PodSelector.MatchLabels
			if in := rule.From[0].NamespaceSelector; in != nil && len(in.MatchLabels) == 0 {
				t.Errorf("port %s is open to every namespace", port)
			}
		}
	}
	if !maps.EqualFunc(let, reach, maps.Equal) {
		t.Errorf("let in: %v, want %v", let, reach)
	}
}

// privatePorts returns which of the ports of programs and of metrics a rule is
// about; one without ports is about all.
func privatePorts(of []networkingv1.NetworkPolicyPort) (found []string) {
	names := map[string]string{"grpc": "grpc", "7469": "grpc", "http": "http", "7480": "http"}
	if len(of) == 0 {
		return []string{"grpc", "http"}
	}
	for _, p := range of {
		if p.Port == nil || p.EndPort != nil {
			return []string{"grpc", "http"}
		}
		if name := names[p.Port.String()]; name != "" {
			found = append(found, name)
		}
	}
	return found
}
