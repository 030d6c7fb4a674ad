package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"simpd/cluster/storage"
)

// validator checks settings that are each right by themselves against one
// another and against the disk, where it changes nothing.
type validator struct {
	*config
	settings
	found keyFiles
	wrong problems
}

// validateConfig returns all that is wrong with a configuration as a whole.
func validateConfig(c *config, s settings) problems {
	v := validator{config: c, settings: s}
	v.nodeIdentity()
	v.checkListeners()
	v.readFiles()
	v.warnings = append(v.warnings, v.limits.warnings()...)
	v.readAccounts()
	v.clientTLS()
	v.clusterTLS()
	v.checkACME()
	v.checkFormation()
	return v.wrong
}

// addProblem says what is wrong with an option that was set, at its place.
func (v *validator) addProblem(option, format string, args ...any) {
	at := v.sourceOf(option)
	v.wrong = append(v.wrong, problem{at: at, text: at.name + ": " + fmt.Sprintf(format, args...)})
}

// addFileProblem says why the file or the folder that an option names can't be
// used.
func (v *validator) addFileProblem(option string, err error) {
	at := v.sourceOf(option)
	v.wrong = append(v.wrong, newFileProblem(at, at.name, err))
}

// sourceOf returns where an option was set.
func (v *validator) sourceOf(option string) source {
	if m, ok := v.made[option]; ok {
		return m.at
	}
	return source{name: option}
}

// requireOption says that an option has to be set, in a sentence that ends with why or how.
func (v *validator) requireOption(option, why string) {
	v.wrong = append(v.wrong, problem{at: source{}, text: fmt.Sprintf("%s is missing: %s", option, why)})
}

func (v *validator) nodeIdentity() {
	if v.isAbsent("node-id") {
		v.requireOption("node-id", "each node of a site needs an id of its own, like n1")
	}
	if v.isAbsent("domain") {
		v.requireOption("domain", "a site serves at least one domain, like example.com")
	}
	if v.isAbsent("data-dir") {
		v.requireOption("data-dir", "the folder for this node's data")
	}
	dir, err := storage.LocateData(v.dataDir)
	if err == nil {
		v.dataDir, err = dir, storage.CheckData(dir)
	}
	if err != nil {
		v.addFileProblem("data-dir", err)
	}
	if err := storage.CheckWritable(v.dataDir); err != nil && v.dataDir != "" {
		v.warnings = append(v.warnings, fmt.Sprintf("data-dir: this user can't write there: %v", err)) // a volume may come later
	}
}

// named is a listener with its option.
type named struct{ option, address string }

func (c *config) listenAddresses() []named {
	all := []named{
		{"simp-listen", c.simp}, {"simps-listen", c.simps}, {"ws-listen", c.ws}, {"grpc-listen", c.grpc},
		{"scim-listen", c.scim},
		{"cluster-listen", c.cluster}, {"gossip-listen", c.gossip}, {"http-listen", c.http},
		{"pprof-listen", c.pprof}, {"acme-http-listen", c.acme.listen}, {"console-listen", c.console},
	}
	on := all[:0]
	for _, l := range all {
		if l.address != "" {
			on = append(on, l)
		}
	}
	return on
}

// httpAddresses are those of listenAddresses that tell how the node does.
func (c *config) httpAddresses() []named {
	return slices.DeleteFunc(c.listenAddresses(), func(l named) bool { return l.option != "http-listen" && l.option != "pprof-listen" })
}

func (v *validator) checkListeners() {
	taken := map[string]string{}
	for _, l := range v.listenAddresses() {
		if v.insecure && !isLoopback(l.address) {
			v.addProblem(l.option, "%s is not loopback, and --insecure is for loopback only", l.address)
		}
		_, port, _ := net.SplitHostPort(l.address)
		if other, twice := taken[l.address]; twice && port != "0" {
			v.addProblem(l.option, "%s is already the address of %s", l.address, other)
		}
		taken[l.address] = l.option
	}
	if v.simp == "" && v.simps == "" && v.ws == "" && v.areValid("simp-listen") {
		v.requireOption("simp-listen", "all of simp-listen, simps-listen and ws-listen are off, so no client could connect")
	}
	if v.pprof != "" && !isLoopback(v.pprof) && !v.insecure {
		v.addProblem("pprof-listen", "%s is not loopback, but profiles must not be readable by others", v.pprof)
	}
	if v.advertiseClientTLS != "" && v.advertiseClientTLS != off && v.simps == "" {
		v.addProblem("advertise-client-tls", "simps-listen is off, so no client could connect there")
	}
	v.checkSCIM()
	v.nodeListeners()
	v.consoleListener()
}

// consoleListener checks that operators can be told where the console is.
func (v *validator) consoleListener() {
	if v.console == "" && v.consoleAddress != "" {
		v.addProblem("console-address", "console-listen is off, so there is no console")
	}
	if isUnspecified(v.console) && v.console != "" && v.consoleAddress == "" && v.consoleHost() == "" {
		v.addProblem("console-listen", "%s means every address of this machine: set console-address to the one that operators reach", v.console)
	}
}

// nodeListeners checks what other nodes have to reach.
func (v *validator) nodeListeners() {
	for _, l := range []named{{"cluster-listen", v.cluster}, {"gossip-listen", v.gossip}} {
		if l.address == "" && v.areValid(l.option) {
			v.addProblem(l.option, "must not be off: Raft and gossip need it, even on a site of one node")
		}
		if v.advertise == "" && isUnspecified(l.address) {
			v.addProblem(l.option, "%s means every address of this machine: set advertise to the one that other nodes reach", l.address)
		}
	}
}

func (v *validator) clientTLS() {
	if len(v.tlsCerts) != len(v.tlsKeys) {
		v.addProblem("tls-key", "there are %d tls-cert and %d tls-key: each certificate needs its key", len(v.tlsCerts), len(v.tlsKeys))
	}
	if len(v.tlsCerts) > 0 || len(v.acme.domains) > 0 {
		return
	}
	if v.simps != "" {
		v.addProblem("simps-listen", "TLS requires a certificate: set tls-cert and tls-key, or acme-domain")
	}
	for _, l := range []named{{"simp-listen", v.simp}, {"ws-listen", v.ws}, {"console-listen", v.console}} {
		if l.address != "" && !isLoopback(l.address) && !v.insecure {
			v.addProblem(l.option, "%s is not loopback, so a certificate is required: set tls-cert and tls-key, or acme-domain", l.address)
		}
	}
}

// withoutKeys is said by a node that is to speak to others and can't prove who it is.
const withoutKeys = "without keys nothing protects the connections between nodes: make keys with `simpctl tls init`, or use --insecure on loopback to try it out"

func (v *validator) clusterTLS() {
	if !v.areValid("insecure", "cluster-ca", "cluster-cert", "cluster-key", "gossip-key-file") {
		return
	}
	files := []named{
		{"cluster-ca", v.clusterCA}, {"cluster-cert", v.clusterCert},
		{"cluster-key", v.clusterKey}, {"gossip-key-file", v.gossipKeys},
	}
	for _, f := range files {
		if f.address == "" && !v.insecure {
			v.requireOption(f.option, withoutKeys)
			return
		}
		if f.address != "" && v.insecure {
			v.addProblem(f.option, "must not be set together with --insecure")
			return
		}
	}
	if v.insecure {
		return
	}
	if v.found.identity == nil {
		return
	}
	if name := v.found.identity.Name(); name.ID != v.nodeID && v.areValid("node-id") {
		v.addProblem("cluster-cert", "%s is for node %s, but node-id is %s", v.clusterCert, name.ID, v.nodeID)
	}
}

// readFiles says of each file that is named what is wrong with it. One that is
// not valid yet is no fault: a start waits for that.
func (v *validator) readFiles() {
	var wrong []fileError
	v.found, wrong = v.config.readFiles()
	for _, e := range wrong {
		switch _, early := errors.AsType[notYetValidError](e); {
		case early:
			v.warnings = append(v.warnings, e.Error()+": the node does not start before then")
		case v.areValid(e.option):
			v.addFileProblem(e.option, e.error)
		}
	}
	v.warnings = append(v.warnings, v.found.certificateWarnings(v.nodeID, v.domains, time.Now())...)
}

// readAccounts says all that is wrong with the accounts file, at the places
// where it is.
func (v *validator) readAccounts() {
	if v.accountsPath == "" {
		return
	}
	found, wrong := readAccountsFile(v.accountsPath, v.domains, sourceTypes())
	for i := range wrong {
		if wrong[i].at.line == 0 {
			wrong[i].at = v.sourceOf("accounts-file")
			wrong[i].text = withPrefix(wrong[i].at.name, v.accountsPath+": "+wrong[i].text)
		}
	}
	if v.wrong = append(v.wrong, wrong...); len(wrong) > 0 {
		return
	}
	v.accounts = found
	for _, name := range found.unused {
		v.warnings = append(v.warnings, fmt.Sprintf("%s: no domain has the source %s", v.accountsPath, name))
	}
}

// checkFormation refuses a start that could only wait for ever. A node that has data
// knows its site.
func (v *validator) checkFormation() {
	if !v.isAbsent("bootstrap-expect") || !v.isAbsent("join") || v.dataDir == "" {
		return
	}
	if entries, err := os.ReadDir(v.dataDir); err == nil && len(entries) > 0 {
		return
	}
	v.requireOption("bootstrap-expect", "a new node forms a site (bootstrap-expect 1 for one on its own) or joins one (join HOST:PORT)")
}

// isLoopback reports whether nobody outside this machine reaches the address.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil || host == "" {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func isUnspecified(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil || host == "" {
		return err == nil
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}
