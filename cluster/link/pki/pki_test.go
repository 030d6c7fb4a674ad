package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func order(dir string) Order {
	return Order{
		Dir: dir, Site: "example.com",
		Nodes:    []NodeOrder{{ID: "n1", Hosts: []string{"n1.example.com", "192.0.2.7"}}, {ID: "n2"}},
		Services: []ServiceOrder{{Name: "bot", Roles: []string{RoleMessageSend}, As: []string{"bot@example.com", "@example.com"}}, {Name: "admin", Roles: AllRoles()}},
	}
}

func leaf(t *testing.T, dir, name string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func load(dir, name string) (*Identity, error) {
	at := func(file string) string { return filepath.Join(dir, file) }
	return Load(at("ca.crt"), at(name+".crt"), at(name+".key"))
}

func TestMakeMakesAllAndForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	made, err := Make(order(dir))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"admin.crt", "admin.key", "bot.crt", "bot.key", "ca.crt", "ca.key",
		"gossip.key", "n1.crt", "n1.key", "n2.crt", "n2.key",
	}
	var got []string
	for _, file := range made {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
		got = append(got, strings.NewReplacer("node-", "", "service-", "").Replace(filepath.Base(file)))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("made %v", got)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", dir, info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".new*"))
	if err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCertificatesNameTheirBearers(t *testing.T) {
	dir := t.TempDir()
	if _, err := Make(order(dir)); err != nil {
		t.Fatal(err)
	}
	name, err := NameOf(leaf(t, dir, "service-bot"))
	if err != nil || name.Site != "example.com" || name.Kind != Service || name.ID != "bot" ||
		!slices.Equal(name.Roles, []string{RoleMessageSend}) || !slices.Equal(name.As, []string{"bot@example.com", "@example.com"}) {
		t.Errorf("bot: %+v, %v", name, err)
	}
	n1 := leaf(t, dir, "node-n1")
	if name, err := NameOf(n1); err != nil || name.String() != "simp://example.com/node/n1" {
		t.Errorf("n1: %v, %v", name, err)
	}
	for _, host := range []string{"n1.example.com", "192.0.2.7", "localhost", "127.0.0.1", "::1"} {
		if err := n1.VerifyHostname(host); err != nil {
			t.Errorf("n1 as %s: %v", host, err)
		}
	}
	id, err := load(dir, "node-n1")
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(id.Expires()); left < 364*24*time.Hour || left > 366*24*time.Hour {
		t.Errorf("it lasts %v", left)
	}
}

func TestMakeNeverOverwritesAndAddsWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Make(order(dir)); err != nil {
		t.Fatal(err)
	}
	before := leaf(t, dir, "node-n1")
	more := order(dir)
	more.Nodes = append(more.Nodes, NodeOrder{ID: "n3"})
	made, err := Make(more)
	if err != nil || len(made) != 2 || !strings.Contains(made[0], "node-n3") {
		t.Errorf("made %v, %v", made, err)
	}
	if !leaf(t, dir, "node-n1").Equal(before) {
		t.Error("a certificate was overwritten")
	}
	if _, err := load(dir, "node-n3"); err != nil {
		t.Errorf("the added one: %v", err)
	}
	other := order(dir)
	other.Site = "other.example"
	if _, err := Make(other); err == nil || !strings.Contains(err.Error(), "not of other.example") {
		t.Errorf("another site uses the authority: %v", err)
	}
	unnamed := order(dir)
	unnamed.Site = ""
	if made, err := Make(unnamed); err != nil || len(made) != 0 {
		t.Errorf("without a site it is that of the authority: made %v, %v", made, err)
	}
	if err := os.Remove(filepath.Join(dir, "node-n2.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(order(dir)); err == nil || !strings.Contains(err.Error(), "only one is in") {
		t.Errorf("half a pair: %v", err)
	}
}

func TestBadNamesAreRefused(t *testing.T) {
	for _, o := range []Order{
		{Site: ".", Nodes: []NodeOrder{{ID: "n1"}}},
		{Site: "Ex ample", Nodes: []NodeOrder{{ID: "n1"}}},
		{Site: "example.com", Nodes: []NodeOrder{{ID: "../n1"}}},
		{Site: "example.com", Nodes: []NodeOrder{{ID: ""}}},
		{Site: "example.com", Services: []ServiceOrder{{Name: "a/b"}}},
		{Site: "example.com", Services: []ServiceOrder{{Name: "a", Roles: []string{"root"}}}},
	} {
		o.Dir = t.TempDir()
		if made, err := Make(o); err == nil {
			t.Errorf("%+v made %v", o, made)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	dir, foreign := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, foreign} {
		if _, err := Make(order(d)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := load(dir, "service-bot"); err == nil || !strings.Contains(err.Error(), "a node's is required") {
		t.Errorf("a service's certificate: %v", err)
	}
	if _, err := Load(filepath.Join(foreign, "ca.crt"), filepath.Join(dir, "node-n1.crt"), filepath.Join(dir, "node-n1.key")); err == nil {
		t.Error("a certificate of another authority is taken")
	}
	if _, err := Load(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "node-n1.crt"), filepath.Join(dir, "node-n2.key")); err == nil {
		t.Error("a key that does not fit is taken")
	}
	key := filepath.Join(dir, "node-n1.key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir, "node-n1"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that all can read: %v", err)
	}
}

func TestAReloadThatFailsChangesNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Make(order(dir)); err != nil {
		t.Fatal(err)
	}
	id, err := load(dir, "node-n1")
	if err != nil {
		t.Fatal(err)
	}
	before := id.Expires()
	for _, end := range []string{".crt", ".key"} {
		if err := os.Rename(filepath.Join(dir, "node-n2"+end), filepath.Join(dir, "node-n1"+end)); err != nil {
			t.Fatal(err)
		}
	}
	if err := id.Reload(); err == nil || !strings.Contains(err.Error(), "runs as simp://example.com/node/n1") {
		t.Errorf("another node's certificate: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "node-n1.crt"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := id.Reload(); err == nil || id.Expires() != before {
		t.Errorf("rubbish: %v", err)
	}
}

func TestGossipKeys(t *testing.T) {
	dir := t.TempDir()
	if _, err := Make(order(dir)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "gossip.key")
	if keys, err := ReadGossipKeys(file); err != nil || len(keys) != 1 || len(keys[0]) != 32 {
		t.Errorf("the key made: %v, %v", keys, err)
	}
	for content, want := range map[string]string{
		"":                       "holds no key",
		"# none\n\n":             "holds no key",
		"# one\nshort\n":         "line 2",
		"AAAAAAAAAAAAAAAAAAAA\n": "line 1",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadGossipKeys(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// twoSites are nodes of two sites whose certificates one authority has signed.
func twoSites(t *testing.T) (one, other *Identity) {
	t.Helper()
	m := &maker{Order: Order{Dir: t.TempDir(), Lifetime: time.Hour}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := sign(template, template, key, key, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if m.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	m.key = key
	if err := m.writePair("ca", der, key); err != nil {
		t.Fatal(err)
	}
	var both []*Identity
	for _, site := range []string{"one.example", "other.example"} {
		m.Site = site
		id := strings.TrimSuffix(site, ".example")
		if err := m.node(NodeOrder{ID: id}); err != nil {
			t.Fatal(err)
		}
		i, err := load(m.Dir, "node-"+id)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, i)
	}
	return both[0], both[1]
}

// shake does a handshake and returns what each end says of it.
func shake(server, client *tls.Config) (serverErr, clientErr error) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	accepted := make(chan error, 1)
	go func() {
		accepted <- tls.Server(far, server).Handshake()
		far.Close()
	}()
	conn := tls.Client(near, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		_, _ = conn.Read(make([]byte, 1)) // the server's word comes after the handshake
	}
	near.Close()
	return <-accepted, clientErr
}

func TestAnotherSiteOfTheSameAuthorityIsRefused(t *testing.T) {
	one, other := twoSites(t)
	const protocol = "test/1"
	stranger := other.Client("one", protocol)
	stranger.VerifyConnection = nil
	if err, _ := shake(one.Server(protocol), stranger); err == nil || !strings.Contains(err.Error(), "another site") {
		t.Errorf("as a caller: %v", err)
	}
	open := other.Server(protocol)
	inner := open.GetConfigForClient
	open.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := inner(h)
		c.VerifyConnection = nil
		return c, err
	}
	if _, err := shake(open, one.Client("other", protocol)); err == nil || !strings.Contains(err.Error(), "another site") {
		t.Errorf("as the one called: %v", err)
	}
	if serverErr, err := shake(one.Server(protocol), one.Client("one", protocol)); serverErr != nil || err != nil {
		t.Errorf("its own: %v, %v", serverErr, err)
	}
}
