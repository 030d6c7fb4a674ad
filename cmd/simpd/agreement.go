package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"

	"simpd/cluster/link/pki"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
)

const (
	maxSettingText = 256 // octets that an operator is shown of a value
	settingSum     = 16  // octets of a hash
)

// agreed is a setting that must be the same on all nodes, as it is in use.
type agreed struct {
	name   string
	values []string // in an order that does not depend on how it was written
	shown  string   // for people, where the values are not
	moot   bool     // it does not matter on this node
}

// agreedSettings returns the settings that must be the same on all nodes. They
// are the same ones on every node of a version, in the same order: a node that
// has others is not compared while it runs.
func (n *node) agreedSettings() []agreed {
	c := n.conf
	all := []agreed{
		{name: "domain", values: c.domains},
		{name: "limit", values: n.limits.Load().format(), shown: n.limits.Load().describe()},
		{name: "timing", values: []string{c.timing}},
		{name: "ws_origin", values: sortedCopy(c.origins), moot: c.ws == ""},
	}
	all = append(all, n.federationSettings()...)
	tokens := agreed{name: "token_file", shown: "none", moot: c.grpc == "" && c.scim == ""}
	if n.tokens != nil {
		tokens.values = n.tokens.Lines()
		if tokens.shown = "1 token"; len(tokens.values) != 1 {
			tokens.shown = fmt.Sprintf("%d tokens", len(tokens.values))
		}
	}
	authorities := agreed{name: "cluster_ca", moot: n.identity == nil}
	if n.identity != nil {
		authorities.setCertificates(n.identity.Authorities())
	}
	return append(all, tokens, authorities, n.accountsSetting(), n.userCASetting(), n.policySetting(), n.acmeSetting(), n.blockFeedSetting())
}

// federationSettings are about other sites.
func (n *node) federationSettings() []agreed {
	names := []string{"federation", "federation_allow", "federation_block", "federation_require_external", "route", "federation_ca"}
	all := make([]agreed, len(names))
	for i, name := range names {
		all[i] = agreed{name: name, moot: n.partners == nil}
	}
	if n.partners == nil {
		return all
	}
	rules := n.partners.Policy()
	all[0].values = listPolicies(rules, func(p protocol.Policy) []string { return []string{p.Mode.String()} })
	all[1].values = listPolicies(rules, func(p protocol.Policy) []string { return slices.Sorted(maps.Keys(p.Allow)) })
	all[2].values = listPolicies(rules, func(p protocol.Policy) []string { return slices.Sorted(maps.Keys(p.Block)) })
	all[3].values = listPolicies(rules, func(p protocol.Policy) []string { return slices.Sorted(maps.Keys(p.External)) })
	for _, other := range slices.Sorted(maps.Keys(rules.Routes)) {
		all[4].values = append(all[4].values, other+"="+rules.Routes[other])
	}
	all[5].setCertificates(*n.partners.authorities.Load())
	return all
}

// listPolicies lists what the policies say: for all domains, and then for each
// that has one of its own.
func listPolicies(rules *protocol.Federation, of func(protocol.Policy) []string) []string {
	all := of(rules.Default)
	for _, own := range slices.Sorted(maps.Keys(rules.Domains)) {
		for _, value := range of(rules.Domains[own]) {
			all = append(all, own+"="+value)
		}
	}
	return all
}

// format returns the limits as they are written.
func (l *limits) format() (all []string) {
	for _, name := range limitNames() {
		all = append(all, name+"="+l.limitOf(name).String())
	}
	return all
}

// describe names the limits that are not the standard ones.
func (l *limits) describe() string {
	var others []string
	for _, one := range l.format() {
		if !strings.Contains(","+standardLimits+",", ","+one+",") {
			others = append(others, one)
		}
	}
	return cmp.Or(strings.Join(others, ", "), "the standard limits")
}

func sortedCopy(values []string) []string { return slices.Sorted(slices.Values(values)) }

// setCertificates has the setting be a file of certificates.
func (a *agreed) setCertificates(certificates []*x509.Certificate) {
	var names []string
	for _, c := range certificates {
		a.values = append(a.values, fmt.Sprintf("%x", pki.FingerprintOf(c)))
		names = append(names, fmt.Sprintf("%s (%s)", certificateName(c), c.SerialNumber.Text(16)))
	}
	slices.Sort(a.values)
	a.shown = cmp.Or(strings.Join(sortedCopy(names), ", "), "the system's")
}

// sharedSettings returns what other nodes are told of the settings that must be the
// same: nothing before there is a site, whose secret hides what is hashed.
func (n *node) sharedSettings() (told []*clusterv1.Setting) {
	secret := n.table.Secret()
	if len(secret) == 0 {
		return nil
	}
	for _, a := range n.agreedSettings() {
		told = append(told, a.setting(secret))
	}
	return told
}

func (a *agreed) setting(secret []byte) *clusterv1.Setting {
	s := &clusterv1.Setting{Name: a.name}
	if a.moot {
		return s
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "setting %s", a.name)
	for _, value := range a.values {
		fmt.Fprintf(mac, " %d:%s", len(value), value)
	}
	s.Sum = mac.Sum(nil)[:settingSum]
	s.Value = validText(cmp.Or(a.shown, strings.Join(a.values, ", "), "none"))
	if len(s.Value) > maxSettingText {
		s.Value = strings.ToValidUTF8(s.Value[:maxSettingText-len("…")], "") + "…"
	}
	return s
}
