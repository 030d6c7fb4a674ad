package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"simpd/cmd/testkit/site"
)

const (
	suffix   = "dc=example,dc=com"
	people   = "ou=people," + suffix
	groups   = "ou=groups," + suffix
	admin    = "cn=admin," + suffix
	service  = "cn=simpd," + suffix
	password = "right" // of everybody
)

// programs are those of OpenLDAP.
type programs struct{ slapd, slapadd, schema string }

// programFolders lists the folders of OpenLDAP's programs.
func programFolders() []string {
	return append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin", "/usr/local/libexec")
}

// findProgram returns where a program is; "" if it is nowhere.
func findProgram(folders []string, name string) string {
	for _, folder := range folders {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path
		}
	}
	return ""
}

// findSlapd returns where OpenLDAP is; the error names what is missing.
func findSlapd(folders []string) (p programs, err error) {
	var missing []string
	find := func(name string) string {
		path := findProgram(folders, name)
		if path == "" {
			missing = append(missing, name)
		}
		return path
	}
	p.slapd, p.slapadd = find("slapd"), find("slapadd")
	for _, folder := range []string{"/etc/ldap/schema", "/etc/openldap/schema", "/usr/local/etc/openldap/schema"} {
		if _, err := os.Stat(filepath.Join(folder, "inetorgperson.schema")); err == nil {
			p.schema = folder
		}
	}
	if p.schema == "" {
		missing = append(missing, "inetorgperson.schema")
	}
	if len(missing) > 0 {
		return p, fmt.Errorf("missing: %s (Debian's package slapd has them)", strings.Join(missing, ", "))
	}
	return p, nil
}

// server is one slapd.
type server struct {
	programs
	dir, plain, secure string // folder, and addresses
	cmd                *exec.Cmd
}

// newServer makes a server's folder, with users.
func newServer(p programs, dir string, users ...string) (*server, error) {
	v := &server{programs: p, dir: dir, plain: site.FreeAddress(), secure: site.FreeAddress()}
	if err := os.MkdirAll(filepath.Join(dir, "db"), 0o700); err != nil {
		return nil, err
	}
	if err := makeCertificate(v.path("cert.pem"), v.path("key.pem")); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`include %[1]s/core.schema
include %[1]s/cosine.schema
include %[1]s/inetorgperson.schema
%[3]sTLSCertificateFile %[2]s/cert.pem
TLSCertificateKeyFile %[2]s/key.pem
database mdb
maxsize 10485760
suffix %[4]q
rootdn %[5]q
rootpw %[6]s
directory %[2]s/db
index mail eq
limits dn.exact=%[7]q size=unlimited
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact=%[7]q read by * none
`, p.schema, dir, moduleLines(), suffix, admin, password, service)
	ldif := "dn: " + suffix + "\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n" +
		"dn: " + service + "\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: simpd\nuserPassword: " + password + "\n\n" +
		"dn: " + people + "\nobjectClass: organizationalUnit\nou: people\n\n" +
		"dn: " + groups + "\nobjectClass: organizationalUnit\nou: groups\n"
	for _, u := range users {
		ldif += fmt.Sprintf("\ndn: uid=%[1]s,%[2]s\nobjectClass: inetOrgPerson\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\nmail: %[3]s@Example.COM\nuserPassword: %[4]s\n", u, people, strings.ToUpper(u), password)
	}
	err := errors.Join(os.WriteFile(v.path("slapd.conf"), []byte(conf), 0o600), os.WriteFile(v.path("base.ldif"), []byte(ldif), 0o600))
	if err != nil {
		return nil, err
	}
	if _, err := site.Output(exec.Command(p.slapadd, "-f", v.path("slapd.conf"), "-l", v.path("base.ldif")), site.Patience); err != nil {
		return nil, err
	}
	return v, v.start()
}

// moduleLines loads the database's module, where it is one.
func moduleLines() string {
	for _, folder := range []string{"/usr/lib/ldap", "/usr/lib/openldap", "/usr/lib64/openldap"} {
		if found, _ := filepath.Glob(filepath.Join(folder, "back_mdb*")); len(found) > 0 {
			return "modulepath " + folder + "\nmoduleload back_mdb\n"
		}
	}
	return ""
}

func (v *server) path(name string) string { return filepath.Join(v.dir, name) }

// start starts the server, and waits until it answers.
func (v *server) start() error {
	v.cmd = exec.Command(v.slapd, "-d", "0", "-f", v.path("slapd.conf"), "-h", "ldap://"+v.plain+" ldaps://"+v.secure)
	if err := v.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(site.Patience); ; time.Sleep(50 * time.Millisecond) {
		c, err := ldap.DialURL("ldap://" + v.plain)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("slapd does not answer: %w", err)
		}
	}
}

func (v *server) stop() {
	if v.cmd != nil {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
		v.cmd = nil
	}
}

// edit calls do with a connection on which everything may be changed.
func (v *server) edit(do func(*ldap.Conn) error) error {
	c, err := ldap.DialURL("ldap://" + v.plain)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Bind(admin, password); err != nil {
		return err
	}
	return do(c)
}

// remove removes a user.
func (v *server) remove(user string) error {
	return v.edit(func(c *ldap.Conn) error { return c.Del(ldap.NewDelRequest("uid="+user+","+people, nil)) })
}

// makeCertificate makes a certificate for localhost that is its own authority.
func makeCertificate(cert, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}
