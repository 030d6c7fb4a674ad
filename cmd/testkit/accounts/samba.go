package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"simpd/cmd/testkit/site"
)

// Names in the Active Directory.
const (
	realm    = "ad.example.com"
	adSuffix = "dc=ad,dc=example,dc=com"
	adURL    = "ldaps://localhost:636" // Samba listens at the standard ports only
)

// activeDirectory is a domain controller (Samba), of which only LDAP runs.
type activeDirectory struct {
	samba, tool, dir string
	cmd              *exec.Cmd
}

// findSamba returns the domain controller's programs; the error names what is
// missing.
func findSamba(folders []string) (*activeDirectory, error) {
	v := &activeDirectory{}
	var missing []string
	for _, p := range []struct {
		name string
		path *string
	}{{"samba", &v.samba}, {"samba-tool", &v.tool}} {
		if *p.path = findProgram(folders, p.name); *p.path == "" {
			missing = append(missing, p.name)
		}
	}
	switch {
	case len(missing) > 0:
		return nil, fmt.Errorf("missing: %s (Debian's packages samba, samba-dsdb-modules and samba-vfs-modules have them)", strings.Join(missing, ", "))
	case os.Geteuid() != 0:
		return nil, errors.New("missing: the rights of root, for the ports 389 and 636")
	}
	return v, nil
}

func (v *activeDirectory) path(name string) string { return filepath.Join(v.dir, name) }

// run runs samba-tool on the directory's database.
func (v *activeDirectory) run(args ...string) error {
	args = append(args, "-H", v.path("dc/private/sam.ldb"), "-s", v.path("dc/etc/smb.conf"))
	_, err := site.Output(exec.Command(v.tool, args...), site.Longest)
	return err
}

// provision makes the domain and its users.
func (v *activeDirectory) provision(dir string) error {
	v.dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := makeCertificate(v.path("cert.pem"), v.path("key.pem")); err != nil {
		return err
	}
	provision := exec.Command(v.tool, "domain", "provision", "--realm="+strings.ToUpper(realm), "--domain=EXAMPLE", "--server-role=dc", "--dns-backend=NONE",
		"--adminpass=Correct-Horse-1", "--targetdir="+v.path("dc"), "--option=vfs objects=dfs_samba4 acl_xattr xattr_tdb",
		"--option=xattr_tdb:file="+v.path("xattr.tdb"), "--option=posix:eadb="+v.path("eadb.tdb"), "--option=interfaces=127.0.0.1", "--option=bind interfaces only=yes")
	if _, err := site.Output(provision, site.LongestBuild); err != nil {
		return err
	}
	steps := [][]string{
		{"domain", "passwordsettings", "set", "--complexity=off", "--min-pwd-length=1", "--account-lockout-threshold=3"},
		{"group", "add", "Chat"},
		{"group", "add", "Staff"},
		{"group", "addmembers", "Chat", "Staff"},
	}
	for _, user := range []string{"simpd", "dora", "erik", "finn", "gina", "ivan"} {
		steps = append(steps, []string{"user", "create", user, password, "--mail-address=" + user + "@example.com"})
	}
	steps = append(steps,
		[]string{"group", "addmembers", "Chat", "dora,finn,gina"}, []string{"group", "addmembers", "Staff", "erik"}, // erik by way of Staff, ivan not at all
		[]string{"user", "setpassword", "gina", "--newpassword=" + password, "--must-change-at-next-login"})
	for _, step := range steps {
		if err := v.run(step...); err != nil {
			return err
		}
	}
	if err := v.configure(); err != nil {
		return err
	}
	return v.start()
}

// configure has the server use our certificate: Samba makes some that Go does
// not read, with negative serial numbers.
func (v *activeDirectory) configure() error {
	conf, err := os.ReadFile(v.path("dc/etc/smb.conf"))
	if err != nil {
		return err
	}
	lines := fmt.Sprintf("[global]\n\ttls certfile = %s\n\ttls keyfile = %s\n\ttls cafile = %[1]s\n\tserver services = ldap\n"+
		"\tinterfaces = 127.0.0.1\n\tbind interfaces only = yes\n", v.path("cert.pem"), v.path("key.pem"))
	return os.WriteFile(v.path("dc/etc/smb.conf"), []byte(strings.Replace(string(conf), "[global]\n", lines, 1)), 0o600)
}

// start starts LDAP, and waits until it answers.
func (v *activeDirectory) start() error {
	v.cmd = exec.Command(v.samba, "-s", v.path("dc/etc/smb.conf"), "-F", "--no-process-group", "-M", "single")
	if err := v.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(site.Patience); ; time.Sleep(100 * time.Millisecond) {
		c, err := ldap.DialURL("ldap://localhost")
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("samba does not answer: %w", err)
		}
	}
}

func (v *activeDirectory) stop() {
	if v.cmd != nil {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
		v.cmd = nil
	}
}

// accountsFile is that of a site whose accounts are those of the group Chat.
func (v *activeDirectory) accountsFile(secret string) string {
	return "sources:\n  corp:\n    type: ldap\n    servers: " + adURL + "\n    ca_file: " + v.path("cert.pem") + "\n    bind_dn: simpd@" + realm + "\n    bind_password_file: " + secret +
		"\n    base: " + adSuffix + "\n    filter: (&(objectCategory=person)(objectClass=user)(memberOf:1.2.840.113556.1.4.1941:=cn=Chat,cn=Users," + adSuffix + "))\n" +
		"    address: mail\ndomains:\n  example.com: [corp, table]\n"
}

// tryActiveDirectory tries users of an Active Directory on a site.
func tryActiveDirectory(bin string) error {
	v, err := findSamba(programFolders())
	if err != nil {
		return err
	}
	t, file, err := newTrial(bin, 1)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	defer v.stop()
	if err := v.provision(filepath.Join(t.Dir, "ad")); err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(file, []byte(v.accountsFile(t.file("service"))), 0o600),
		os.WriteFile(t.file("service"), []byte(password), 0o600), os.WriteFile(t.file("wrong"), []byte("wrong\n"), 0o600))
	if err == nil {
		err = t.BeginAll()
	}
	if err != nil {
		return err
	}
	return t.try([]step{
		{"members of a group of Active Directory, also of nested ones, log in, and nobody else", t.tryADLogins},
		{"accounts that must change their password, or are locked, are told apart in the log", t.tryADStates},
		{"who is disabled in Active Directory is out within 60 s", func() error { return t.tryADLeaver(v) }},
	})
}

func (t *trial) tryADLogins() error {
	for user, code := range map[string]int{"dora": 0, "erik": 0, "ivan": 1, "nobody": 1} {
		text := ""
		if code != 0 {
			text = "(401)"
		}
		if _, err := t.expect(t.Nodes[0], user, code, text, "app", "list"); err != nil {
			return err
		}
		if _, err := t.expect(t.Nodes[0], user, 1, "(401)", "app", "list", "--password-file", t.file("wrong")); err != nil {
			return err
		}
	}
	_, said, err := t.Simpctl(t.Nodes[0], "account", "source", "check", "erik@example.com")
	if err == nil && !strings.Contains(said, "the entry is CN=erik") {
		err = errors.New(said)
	}
	return err
}

func (t *trial) tryADStates() error {
	if _, err := t.expect(t.Nodes[0], "gina", 1, "(401)", "app", "list"); err != nil {
		return err
	}
	for i := range 4 {
		guess := t.file("guess")
		if err := os.WriteFile(guess, fmt.Appendln(nil, "guess", i), 0o600); err != nil {
			return err
		}
		if _, err := t.expect(t.Nodes[0], "finn", 1, "(401)", "app", "list", "--password-file", guess); err != nil {
			return err
		}
	}
	if _, err := t.expect(t.Nodes[0], "finn", 1, "(401)", "app", "list"); err != nil {
		return err
	}
	for _, reason := range []string{"the user must choose a new password first", "the account is locked after too many failed logins"} {
		if !strings.Contains(t.Said(), reason) {
			return fmt.Errorf("the log does not say that %s", reason)
		}
	}
	return nil
}

func (t *trial) tryADLeaver(v *activeDirectory) error {
	p, err := t.Start("simp", append(t.Person(t.Nodes[0], "dora"), "listen")...)
	if err != nil {
		return err
	}
	if _, _, err := p.Await(0, "is listening"); err != nil {
		return err
	}
	if err := v.run("user", "disable", "dora"); err != nil { // sets a bit of userAccountControl
		return err
	}
	if _, err := p.Ended(time.Minute); err != nil {
		return err
	}
	if !strings.Contains(p.Said(), "(401)") {
		return fmt.Errorf("a leaver was told %s", p.Said())
	}
	_, err = t.expect(t.Nodes[0], "dora", 1, "(401)", "app", "list")
	return err
}
