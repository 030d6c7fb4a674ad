package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cmd/testkit/site"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

// TestRotation: gossip keys, the site's authority with all certificates under
// it, and tokens are changed while people chat and programs watch. No session
// is lost, every message is delivered, no watch misses anything; what was
// taken out is refused from then on.
func TestRotation(t *testing.T) {
	r := rotate(t)
	r.gossipKeys()
	r.authority()
	r.tokens()
	restart(t, r.site.Nodes[2]) // it gets in with nothing but what is new
	r.crowd.chatOn()
	r.crowd.disperse()
	for i, v := range r.watching {
		eventually(t, "all changes are seen", func() bool { return v.has("watch0@example.com busy") == r.changes })
		if err := v.failure(); err != nil || v.has("synced") != 1 {
			t.Errorf("watch %d: %v, or it had to begin anew", i, err)
		}
	}
}

// rotation is a busy site whose secrets are changed.
type rotation struct {
	*testing.T
	site      *site.Site
	crowd     *crowd
	watching  []*viewer // which nothing may disturb
	tokenFile string
	old       newToken
	changes   int // of the one whom only programs watch
}

// newToken is what simpctl token make prints.
type newToken struct{ Token, Line string }

func rotate(t *testing.T) *rotation {
	t.Helper()
	r := &rotation{T: t, site: newCrowdSite(t), tokenFile: filepath.Join(t.TempDir(), "tokens")}
	r.old = r.makeToken()
	r.write(r.tokenFile, r.old.Line+"\n")
	r.site.Flags = []string{"--token-file", r.tokenFile, "--timing", "relaxed"}
	if err := r.site.BeginAll(); err != nil {
		t.Fatal(err)
	}
	r.crowd = gather(t, r.site, 2, 1)
	for _, n := range r.site.Nodes[:2] {
		r.watch(n, "")
	}
	return r
}

// watch begins to watch at a node, and waits for the present state.
func (r *rotation) watch(n *site.Node, token string) *viewer {
	r.Helper()
	v := follow(r.T, call(r.T, r.site, n, token), nil)
	eventually(r.T, "the present state is told", func() bool { return v.has("synced") == 1 })
	if token == "" {
		r.watching = append(r.watching, v)
	}
	return v
}

func (r *rotation) makeToken() (made newToken) {
	r.Helper()
	said := succeed(r.T, "", "simpctl", "token", "make", "desk", "--role", "presence:read", "--output", "json")
	if err := json.Unmarshal([]byte(said), &made); err != nil {
		r.Fatal(err)
	}
	return made
}

func (r *rotation) write(file, content string) {
	r.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		r.Fatal(err)
	}
}

func (r *rotation) read(file string) string {
	r.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		r.Fatal(err)
	}
	return string(b)
}

// reload has a node read its files again.
func (r *rotation) reload(n *site.Node) {
	r.Helper()
	had := strings.Count(n.Said(), `"read again"`)
	if err := n.Signal(syscall.SIGHUP); err != nil {
		r.Fatal(err)
	}
	eventually(r.T, n.ID+" reads again", func() bool { return strings.Count(n.Said(), `"read again"`) > had })
	if strings.Contains(n.Said(), "reload failed, keeping previous value") {
		r.Fatalf("%s could not take something", n.ID)
	}
}

// everywhere has all nodes read again, one after the other, and looks that life goes on.
func (r *rotation) everywhere() {
	r.Helper()
	for _, n := range r.site.Nodes {
		r.reload(n)
	}
	r.crowd.chatOn()
	r.stir()
}

// stir changes the state of somebody whom only programs watch.
func (r *rotation) stir() {
	r.Helper()
	for _, s := range []protocol.State{protocol.Busy, protocol.Available} {
		if _, err := r.crowd.others[0].SetState(soon(r.T), s, nil); err != nil {
			r.Fatal(err)
		}
	}
	r.changes++
}

// gossipKeys brings a new key in, uses it, and takes the old one out.
func (r *rotation) gossipKeys() {
	r.Helper()
	file := r.site.Key("gossip.key")
	key := make([]byte, 32)
	rand.Read(key)
	was, is := strings.TrimSpace(r.read(file))+"\n", base64.StdEncoding.EncodeToString(key)+"\n"
	for _, ring := range []string{was + is, is + was, is} {
		r.write(file, ring)
		r.everywhere()
	}
	operate(r.T, r.site, "3 of 3 voters", "status")
}

// authority brings a new authority in, has each node show a certificate of
// it, and takes the old one out. An operator's certificate of the old one is
// refused then.
func (r *rotation) authority() {
	r.Helper()
	other := r.TempDir()
	args := []string{"tls", "init", "--dir", other, "--site", r.site.Domain}
	for _, n := range r.site.Nodes {
		args = append(args, "--node", n.ID)
	}
	succeed(r.T, "", "simpctl", args...)
	was, is := r.read(r.site.Key("ca.crt")), r.read(filepath.Join(other, "ca.crt"))
	r.write(r.site.Key("ca.crt"), was+is)
	r.everywhere()
	for _, n := range r.site.Nodes {
		for _, end := range []string{".crt", ".key"} {
			r.write(r.site.Key("node-"+n.ID+end), r.read(filepath.Join(other, "node-"+n.ID+end)))
		}
		r.reload(n)
		r.crowd.chatOn()
	}
	former := call(r.T, r.site, r.site.Nodes[0], "") // of the old authority, and not used yet
	r.write(r.site.Key("ca.crt"), is)
	r.everywhere()
	if _, err := former.presence.Get(soon(r.T), bob()); err == nil {
		r.Error("a certificate of the old authority still opens")
	}
	for _, end := range []string{".crt", ".key"} {
		r.write(r.site.Key("service-operator"+end), r.read(filepath.Join(other, "service-operator"+end)))
	}
	operate(r.T, r.site, "3 of 3 voters", "status")
}

func bob() *simpv1.GetRequest { return &simpv1.GetRequest{Ima: []string{"bob@example.com"}} }

// tokens brings a second token in and takes the first one out, which ends
// what was opened with it.
func (r *rotation) tokens() {
	r.Helper()
	first, made := r.watch(r.site.Nodes[1], r.old.Token), r.makeToken()
	r.write(r.tokenFile, r.old.Line+"\n"+made.Line+"\n")
	r.everywhere()
	second := r.watch(r.site.Nodes[1], made.Token)
	if err := first.failure(); err != nil {
		r.Errorf("the first token, while both are good: %v", err)
	}
	r.write(r.tokenFile, made.Line+"\n")
	r.everywhere()
	eventually(r.T, "what the first token opened ends", func() bool { return first.failure() != nil })
	for _, n := range r.site.Nodes {
		_, err := call(r.T, r.site, n, r.old.Token).presence.Get(soon(r.T), bob())
		if status.Code(first.failure()) != codes.Unauthenticated || status.Code(err) != codes.Unauthenticated {
			r.Errorf("%s: the first token: %v, then %v", n.ID, first.failure(), err)
		}
		if _, err := call(r.T, r.site, n, made.Token).presence.Get(soon(r.T), bob()); err != nil {
			r.Errorf("%s: the second token: %v", n.ID, err)
		}
	}
	if err := second.failure(); err != nil {
		r.Errorf("the second token: %v", err)
	}
}
