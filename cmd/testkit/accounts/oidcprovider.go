package main

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cmd/testkit/site"
)

//go:embed provider
var providerFiles embed.FS

// provider is npm's oidc-provider.
type provider struct {
	url string
	cmd *exec.Cmd
}

// startProvider installs the provider in a folder and starts it.
func startProvider(dir string) (*provider, error) {
	var missing []string
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("missing: %s (Debian's packages nodejs and npm have them)", strings.Join(missing, ", "))
	}
	if err := os.CopyFS(dir, providerFiles); err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "provider")
	if _, err := site.Output(exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir), site.LongestBuild); err != nil {
		return nil, err
	}
	address := site.FreeAddress()
	_, port, _ := net.SplitHostPort(address)
	p := &provider{url: "http://" + address, cmd: exec.Command("node", filepath.Join(dir, "server.js"), port)}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(site.Patience); ; time.Sleep(100 * time.Millisecond) {
		if _, err := p.fetches(); err == nil {
			return p, nil
		} else if time.Now().After(deadline) {
			p.stop()
			return nil, err
		}
	}
}

func (p *provider) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// post sends a form, and reads the answer, in the name of a client.
func (p *provider) post(path, client string, form url.Values) ([]byte, error) {
	r, err := http.NewRequest(http.MethodPost, p.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, "secret")
	answer, err := (&http.Client{Timeout: site.Patience}).Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", path, answer.Status, b)
	}
	return b, err
}

// token returns a token of a user: a JSON Web Token (jwt), or an opaque one.
func (p *provider) token(user, kind string) (string, error) {
	b, err := p.post("/token", user, url.Values{"grant_type": {"client_credentials"}, "resource": {"urn:simp:" + kind}})
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(b, &answer); err != nil || answer.Token == "" {
		return "", fmt.Errorf("no token: %s", b)
	}
	return answer.Token, nil
}

// fetches returns how often the provider's keys were fetched.
func (p *provider) fetches() (n int, err error) {
	answer, err := http.Get(p.url + "/test/fetches")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = fmt.Fscan(answer.Body, &n)
	return n, err
}

// tryOIDCProvider tries tokens of a real OpenID provider on a site of three
// nodes.
func tryOIDCProvider(bin string) error {
	t, file, err := newTrial(bin, 3)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	p, err := startProvider(filepath.Join(t.Dir, "provider"))
	if err != nil {
		return err
	}
	defer p.stop()
	yaml := "sources:\n  login:\n    type: oidc\n    issuer: " + p.url + "\n    audience: simp\n    client_id: simp\n    scope: openid email offline_access\n" +
		"    introspection: " + p.url + "/token/introspection\n    introspection_id: simpd\n    introspection_secret_file: " + t.file("secret") + "\ndomains:\n  example.com: [login]\n"
	if err := errors.Join(os.WriteFile(file, []byte(yaml), 0o600), os.WriteFile(t.file("secret"), []byte("secret"), 0o600), t.BeginAll()); err != nil {
		return err
	}
	return t.try([]step{
		{"1,000 logins with tokens in a burst over three nodes fetch the keys once", func() error { return t.tryBurst(p) }},
		{"the provider signs with another key under load, and no login is refused", func() error { return t.tryRotation(p) }},
		{"opaque tokens are introspected, and revoked ones are refused", func() error { return t.tryIntrospection(p) }},
		{"simp login signs in with a browser, and the login works at every node", func() error { return t.tryDeviceFlow() }},
	})
}

// tokenUsers are the users whose tokens the provider gives.
var tokenUsers = []string{"dora", "erik", "finn"}

func (t *trial) tokensOf(p *provider, kind string) (all []string, err error) {
	for _, user := range tokenUsers {
		token, err := p.token(user, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, token)
	}
	return all, nil
}

func (t *trial) tryBurst(p *provider) error {
	tokens, err := t.tokensOf(p, "jwt")
	if err != nil {
		return err
	}
	if err := t.logInOften(1000, 50, tokens); err != nil {
		return err
	}
	if n, err := p.fetches(); err != nil || n != 1 {
		return fmt.Errorf("the keys were fetched %d times, %v", n, err)
	}
	return nil
}

// logInOften logs in with tokens on all nodes, several at a time.
func (t *trial) logInOften(times, atOnce int, tokens []string) error {
	var all sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, atOnce)
	for w := range atOnce {
		all.Go(func() {
			for i := int(next.Add(1)); i <= times && errs[w] == nil; i = int(next.Add(1)) {
				user := tokenUsers[i%len(tokenUsers)]
				answer, _, err := t.byToken(t.Nodes[i%len(t.Nodes)], user, tokens[i%len(tokens)])
				if err == nil && !strings.HasPrefix(answer, "200 ima="+user) {
					err = fmt.Errorf("%s is answered %q", user, answer)
				}
				errs[w] = err
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// refreshInterval is the time between two fetches of the keys.
const refreshInterval = 10 * time.Second

func (t *trial) tryRotation(p *provider) error {
	old, err := t.tokensOf(p, "jwt")
	if err != nil {
		return err
	}
	before, err := p.fetches()
	if err != nil {
		return err
	}
	for end := time.Now().Add(refreshInterval); time.Now().Before(end); { // the load goes on
		if err := t.logInOften(30, 6, old); err != nil {
			return err
		}
	}
	if _, err := p.post("/test/rotate", "", nil); err != nil {
		return err
	}
	fresh, err := t.tokensOf(p, "jwt")
	if err != nil {
		return err
	}
	both := slices.Concat(old, fresh)
	if err := t.logInOften(300, 30, both); err != nil {
		return err
	}
	if n, err := p.fetches(); err != nil || n != before+1 {
		return fmt.Errorf("the keys were fetched %d times more, %v", n-before, err)
	}
	return nil
}

func (t *trial) tryIntrospection(p *provider) error {
	tokens, err := t.tokensOf(p, "opaque")
	if err != nil {
		return err
	}
	if err := t.logInOften(30, 3, tokens); err != nil {
		return err
	}
	if _, err := p.post("/token/revocation", "dora", url.Values{"token": {tokens[0]}}); err != nil {
		return err
	}
	for _, token := range []string{tokens[0], "made-up"} {
		answer, _, err := t.byToken(t.Nodes[0], "dora", token)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(answer, "101") { // the error of RFC 7628
			return fmt.Errorf("a bad token is answered %q", answer)
		}
	}
	return nil
}

// tryDeviceFlow signs in as a person does, with a browser.
func (t *trial) tryDeviceFlow() error {
	t.Env = slices.DeleteFunc(t.Env, func(v string) bool { return strings.HasPrefix(v, "SIMP_PASSWORD=") })
	login, err := t.Start("simp", append(t.Person(t.Nodes[0], "dora"), "login")...)
	if err != nil {
		return err
	}
	line, _, err := login.Await(0, "enter the code")
	if err != nil {
		return err
	}
	found := regexp.MustCompile(`open (\S+) in a browser, and enter the code (\S+)`).FindStringSubmatch(line)
	if found == nil {
		return fmt.Errorf("no address and code: %s", line)
	}
	title, err := signIn(found[1]+"?user_code="+url.QueryEscape(found[2]), "dora")
	if err != nil {
		return err
	}
	if code, err := login.Ended(site.Patience); err != nil || code != 0 {
		return fmt.Errorf("simp login exits with %d, after the page %q: %s, %v", code, title, login.Said(), err)
	}
	for _, n := range t.Nodes {
		if _, err := t.expect(n, "dora", 0, "", "app", "list"); err != nil {
			return err
		}
	}
	return nil
}
