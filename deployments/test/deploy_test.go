// Package deploy reads what is in deployments/ as its users' tools do. It is
// a module of its own, so that the server's does not carry theirs.
package deploy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
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

func TestChart(t *testing.T) {
	dir := os.Getenv("MANIFESTS")
	if dir == "" {
		t.Fatal("MANIFESTS names the folder of rendered manifests; deployments/test/run makes it")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests in %s: %v", dir, err)
	}
	for _, f := range files {
		seen := decodeAll(t, f)
		for kind := range kinds {
			if seen[kind] == 0 {
				t.Errorf("%s has no %s", f, kind)
			}
		}
	}
}

// decodeAll decodes each manifest strictly: a field that Kubernetes does not
// know is an error.
func decodeAll(t *testing.T, file string) map[string]int {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return seen
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
		seen[head.Kind]++
		object, known := kinds[head.Kind]
		if !known {
			t.Errorf("%s: a kind that is not checked", head.Kind)
			continue
		}
		decoded := object()
		if err := strict.UnmarshalStrict(document, decoded); err != nil {
			t.Errorf("%s: %v", head.Kind, err)
		}
		if set, ok := decoded.(*appsv1.StatefulSet); ok {
			checkStatefulSet(t, set)
		}
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
