package deploy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// asRoot stands for sudo, and for what no machine here has: docker and kubectl.
// Secrets are as the kubelet mounts them: root's, readable for the fsGroup.
const asRoot = `
sudo() { "$@"; }
docker() { :; }
kubectl() {
	[ "$1" != -n ] || shift 2
	[ "$1 $2" = "create secret" ] || return 0
	mkdir -p "secret/$4" && chgrp 65532 "secret/$4"
	for arg in "${@:5}"; do
		case $arg in
		--from-file=*) cp "${arg#*=}" "secret/$4/" ;;
		--cert=*) cp "${arg#*=}" "secret/$4/tls.crt" ;;
		--key=*) cp "${arg#*=}" "secret/$4/tls.key" ;;
		esac
	done
	chgrp 65532 "secret/$4"/* && chmod 440 "secret/$4"/*
}
`

const certificate = `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=example.com -addext subjectAltName=DNS:example.com,DNS:example.org \
	-keyout example.com.key -out example.com.crt 2>/dev/null`

// TestComposeSite types what the compose file's head has one type and runs what
// it describes: a site of three forms, and clients outside follow each node's MOVE.
func TestComposeSite(t *testing.T) {
	m := newMachine(t)
	m.sh(certificate)
	typed := typedInHead(t, "../compose/compose.yaml")
	m.sh(asRoot + strings.Join(typed[:len(typed)-1], "\n"))
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
	var nodes []*container
	for i, name := range names {
		nodes = append(nodes, m.composed(i, project.WorkingDir, project.Services[name]))
	}
	m.begin(nodes)
	m.eventually(typed[len(typed)-1] + " | grep '^healthy: 3 of 3'")
	m.addUsers(strings.TrimSuffix(typed[len(typed)-1], " status"))
	m.noFindings(strings.TrimSuffix(typed[len(typed)-1], " status"))
	m.rollOver(nodes, "example.com:7467", "example.com:7468", func(leaving *container) string {
		if leaving == nodes[0] {
			return "example.com:7567"
		}
		return "example.com:7467"
	})
}

// composed makes the container of a service, and publishes its ports.
func (m *machine) composed(number int, folder string, s types.ServiceConfig) *container {
	m.Helper()
	mounts := map[string]string{}
	for _, v := range s.Volumes {
		if v.Type == "bind" {
			mounts[v.Target] = filepath.Join(m.dir, strings.TrimPrefix(v.Source, folder))
			continue
		}
		mounts[v.Target] = filepath.Join(m.dir, "volume", v.Source)
		m.sh("mkdir -p volume && cp -a " + m.image + v.Target + " volume/" + v.Source) // as an engine fills a new one
	}
	env := imageEnv(m)
	for key, value := range s.Environment {
		env = append(env, key+"="+*value)
	}
	c := m.container(number, s.Name, env, mounts)
	for _, p := range s.Ports {
		at := outsideHost + ":" + p.Published
		if p.HostIP != "" {
			at = p.HostIP + ":" + p.Published
		}
		m.publish(at, func() string { return fmt.Sprint(c.addr, ":", p.Target) })
	}
	return c
}

// typedInHead returns the commands in the comment that a file begins with.
func typedInHead(t *testing.T, file string) (commands []string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		if typed, ok := strings.CutPrefix(line, "#   "); ok {
			commands = append(commands, strings.TrimSuffix(typed, "\n"))
		}
	}
	if len(commands) == 0 {
		t.Fatalf("%s has nothing to type", file)
	}
	return commands
}

// imageEnv returns the variables that the image sets.
func imageEnv(m *machine) []string { return strings.Fields(wantEnv(m.T, "IMAGE_ENV")) }

// begin starts all nodes, once each knows the others' names.
func (m *machine) begin(nodes []*container) {
	m.Helper()
	m.writeHosts()
	m.sh("printf '127.0.0.1 localhost\n" + outsideHost + " example.com\n' >outside-hosts && mount --bind outside-hosts /etc/hosts")
	m.Cleanup(func() { m.sh("umount /etc/hosts") })
	for _, c := range nodes {
		c.start()
	}
	for _, c := range nodes {
		c.awaitReady()
	}
}

func (m *machine) addUsers(simpctl string) {
	m.Helper()
	m.eventually("echo a-good-password | " + simpctl + " account add alice@example.com --password-stdin")
	m.sh("echo a-good-password | " + simpctl + " account add bob@example.com --password-stdin")
	m.sh("echo a-good-password | " + simpctl + " account add carol@example.com --password-stdin")
	m.env = append(m.env, "SIMP_PASSWORD=a-good-password")
}

// noFindings checks that doctor finds nothing to set: hints that stay would
// teach operators to read past them.
func (m *machine) noFindings(simpctl string) {
	m.Helper()
	if said := m.sh(simpctl + " doctor"); strings.Contains(said, "advertise_client") {
		m.Errorf("doctor says\n%s", said)
	}
}

const guest = "ip netns exec outside simp --tls-ca example.com.crt --user "

// listen has a user listen outside by a server's name.
func (m *machine) listen(user, server string) (log string) {
	m.Helper()
	log = filepath.Join(m.dir, user+".log")
	out, err := os.Create(log)
	if err != nil {
		m.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("bash", "-c", "exec "+guest+user+"@example.com --server "+server+" listen")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = m.dir, m.env, out, out
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if said, _ := os.ReadFile(log); m.Failed() {
			m.Logf("%s:\n%s", user, said)
		}
	})
	m.eventually("grep -q 'is listening' " + log)
	return log
}

// rollOver stops and starts each node, the last first. Bob, who listens outside
// without TLS at first, and carol, with it, are never deaf to alice, who is outside
// too and comes by the server that is not leaving.
func (m *machine) rollOver(nodes []*container, without, with string, leaving func(*container) (server string)) {
	m.Helper()
	logs := []string{m.listen("bob", without), m.listen("carol", with)}
	for _, n := range slices.Backward(nodes) {
		send := guest + "alice@example.com --server " + leaving(n) + " send bob@example.com,carol@example.com hello"
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			n.stop()
		}()
		for over := false; !over; {
			select {
			case <-stopped:
				over = true // and they hear alice once more
			default:
			}
			m.sh(send)
		}
		n.start()
		n.awaitReady()
		leaving(nil)
	}
	for _, log := range logs {
		m.sh("grep 'moved to' " + log + " && ! grep 'was lost' " + log)
	}
}

// chartSite is a site as the chart describes it.
type chartSite struct {
	*machine
	pods []*container

	mu      sync.Mutex
	leaving *container
}

// TestChartSites types what the chart's notes have one type and runs the pods of
// sites of one, three and five.
func TestChartSites(t *testing.T) {
	for _, name := range []string{"one", "three", "five"} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.sh(certificate)
			notes := typedInNotes(m, filepath.Join(wantEnv(t, "MANIFESTS"), name+".notes"))
			m.sh(asRoot + strings.Join(notes[:len(notes)-1], "\n"))
			sets := decodeAll(t, filepath.Join(wantEnv(t, "MANIFESTS"), name+".yaml"))["StatefulSet"]
			s := &chartSite{machine: m}
			set := sets[0].(*appsv1.StatefulSet)
			for i := range int(*set.Spec.Replicas) {
				s.addPod(set, i)
			}
			s.publish("127.0.0.1:7469", func() string { return s.choose() + ":7469" })
			s.publish(outsideHost+":7467", func() string { return s.choose() + ":7467" })
			s.publish(outsideHost+":7468", func() string { return s.choose() + ":7468" })
			m.begin(s.pods)
			status := notes[len(notes)-1]
			m.eventually(status + fmt.Sprintf(" | grep '^[a-z]*: %[1]d of %[1]d'", len(s.pods)))
			simpctl := strings.TrimSuffix(status, " status")
			m.addUsers(simpctl)
			m.noFindings(simpctl)
			if len(s.pods) > 1 {
				m.rollOver(s.pods, "example.com:7467", "example.com:7468", s.leave)
			}
		})
	}
}

// typedInNotes returns the commands in the chart's notes: what is indented.
func typedInNotes(m *machine, file string) (commands []string) {
	m.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		m.Fatal(err)
	}
	for line := range strings.Lines(strings.ReplaceAll(string(content), "\\\n", "")) {
		if typed, ok := strings.CutPrefix(line, "  "); ok {
			commands = append(commands, strings.TrimSuffix(typed, "\n"))
		}
	}
	if len(commands) == 0 {
		m.Fatalf("%s has nothing to type", file)
	}
	return commands
}

// addPod makes a pod of the set, by its number.
func (s *chartSite) addPod(set *appsv1.StatefulSet, number int) {
	s.Helper()
	name := fmt.Sprint(set.Name, "-", number)
	env := map[string]string{"POD": name}
	all := imageEnv(s.machine)
	pod := set.Spec.Template.Spec
	for _, e := range pod.Containers[0].Env {
		if e.ValueFrom == nil {
			env[e.Name] = os.Expand(strings.NewReplacer("$(", "${", ")", "}").Replace(e.Value), func(of string) string { return env[of] })
		}
		all = append(all, e.Name+"="+env[e.Name])
	}
	mounts := map[string]string{}
	for _, v := range pod.Containers[0].VolumeMounts {
		mounts[v.MountPath] = s.volume(&pod, name, v.Name)
	}
	c := s.container(number, name, all, mounts)
	within := set.Spec.ServiceName + ".default.svc"
	s.names[c.addr] = append(s.names[c.addr], name+"."+within, within)
	s.pods = append(s.pods, c)
}

// volume returns the folder for a volume of a pod: a secret's, or an empty one that
// the fsGroup may write.
func (s *chartSite) volume(pod *corev1.PodSpec, name, volume string) string {
	s.Helper()
	for _, v := range pod.Volumes {
		if v.Name == volume && v.Secret != nil {
			if mode := v.Secret.DefaultMode; mode == nil || *mode != 0o440 {
				s.Errorf("the mode of the secret %s", volume)
			}
			return filepath.Join(s.dir, "secret", v.Secret.SecretName)
		}
	}
	dir := "volume/" + name + "/" + volume
	s.sh(fmt.Sprintf("mkdir -p %[1]s && chgrp %[2]d %[1]s && chmod 2775 %[1]s", dir, *pod.SecurityContext.FSGroup))
	return filepath.Join(s.dir, dir)
}

// choose is what the services do: they give one of the pods that are ready and do
// not end.
func (s *chartSite) choose() (addr string) {
	s.mu.Lock()
	leaving := s.leaving
	s.mu.Unlock()
	for _, i := range rand.Perm(len(s.pods)) {
		if c := s.pods[i]; c != leaving {
			if _, err := s.try("curl -fsS http://" + c.addr + ":7480/readyz"); err == nil {
				return c.addr
			}
		}
	}
	return "127.0.0.1" // nobody is there
}

func (s *chartSite) leave(c *container) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = c
	return "example.com:7467"
}
