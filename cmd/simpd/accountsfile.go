package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// sourceType is a type of account source that the accounts file can name.
type sourceType struct {
	name string // as after type:
	help string
	// begin returns the keys of a source, and the function that creates it once
	// each key that is in the file has been set.
	begin func() (keys []sourceKey, create func(sourceEnv) (accounts.Source, error))
}

// sourceKey is one key of an account source.
type sourceKey struct {
	name     string
	arg      string // what stands for its value in the docs
	help     string
	standard string // the value that holds where none is given; for the docs
	form     form
	required bool
	// set takes the values, never none. Its error follows "NAME: ".
	set func(values []string) error
}

// sourceEnv holds what a source gets besides its keys.
type sourceEnv struct {
	name    string
	logger  *slog.Logger
	askSite askKeys // nil: there is no site
}

// keyError reports that the value of a key is wrong, although it was set.
type keyError struct {
	key string
	err error
}

func (e keyError) Error() string { return e.key + ": " + e.err.Error() }
func (e keyError) Unwrap() error { return e.err }

// sourceTypes lists the types of account sources, besides the table.
func sourceTypes() []sourceType { return []sourceType{ldapType(), oidcType(), calloutType()} }

// accountsFile is an accounts file that is right.
type accountsFile struct {
	content []string // its lines
	sources map[string]*sourceDefinition
	domains map[string][]string // the names of each domain's sources
	unused  []string            // sources of no domain

	made map[string]madeSource // what newSet has returned
}

// readAccountsFile reads the account sources of the site's domains. The file is
// right if there are no problems; then newSet can make the sources.
func readAccountsFile(name string, domains []string, types []sourceType) (*accountsFile, problems) {
	file, unreadable := openYAML(name)
	if unreadable != nil {
		if unreadable.at.file == "" {
			unreadable.at.file = name
		}
		return nil, problems{*unreadable}
	}
	r := accountsReader{
		yamlFile: file, types: types, served: domains,
		found: accountsFile{content: file.lines, sources: map[string]*sourceDefinition{}, domains: map[string][]string{}},
		named: map[string]*token.Token{}, used: map[string]bool{}, final: map[string]bool{}, tried: map[string]accounts.Source{},
	}
	if body := r.body(); body != nil {
		r.readTop(body)
	}
	for _, name := range slices.Sorted(maps.Keys(r.named)) {
		if !r.used[name] {
			r.found.unused = append(r.found.unused, name)
		}
	}
	return &r.found, r.wrong
}

// accountsReader walks the tree of an accounts file.
type accountsReader struct {
	*yamlFile
	types  []sourceType
	served []string // the site's domains
	found  accountsFile
	named  map[string]*token.Token // where each source is defined
	used   map[string]bool
	final  map[string]bool            // sources that have to be the last of their domains
	tried  map[string]accounts.Source // what they were like; closed
}

// readTop reads the sources first, wherever they stand, because the domains
// name them.
func (r *accountsReader) readTop(n ast.Node) {
	parts := map[string]ast.Node{}
	first := map[string]int{}
	for _, pair := range r.pairsOf(n) {
		t := pair.Key.GetToken()
		switch {
		case t.Value != "sources" && t.Value != "domains":
			r.addProblem(t, "unknown key %q%s", t.Value, didYouMean(t.Value, []string{"sources", "domains"}))
		case !r.isRepeated(t, first) && pair.Value.Type() != ast.NullType:
			parts[t.Value] = pair.Value
		}
	}
	if n := parts["sources"]; n != nil {
		first := map[string]int{}
		for _, pair := range r.pairsOf(n) {
			r.readSource(pair, first)
		}
	}
	if n := parts["domains"]; n != nil {
		first := map[string]int{}
		for _, pair := range r.pairsOf(n) {
			r.readDomain(pair, first)
		}
	}
}

// maxSourceName limits the name of a source, which accounts in the table bear.
const maxSourceName = 32

func checkSourceName(name string) error {
	switch {
	case name == accounts.Table:
		return fmt.Errorf("%s is the name of the site's own accounts: give the source another", name)
	case name == "certificate":
		return fmt.Errorf("%s is the name of accounts without a password: give the source another", name)
	case name == "" || len(name) > maxSourceName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
		return fmt.Errorf("invalid name %q: must have 1 to %d small letters, digits, - and _", name, maxSourceName)
	}
	return nil
}

// readSource reads one source under sources.
func (r *accountsReader) readSource(pair *ast.MappingValueNode, first map[string]int) {
	t := pair.Key.GetToken()
	if r.isRepeated(t, first) {
		return
	}
	if err := checkSourceName(t.Value); err != nil {
		r.addProblem(t, "%v", err)
		return
	}
	r.named[t.Value] = t
	pairs := r.pairsOf(pair.Value)
	if kind := r.findType(t, pairs); kind != nil {
		r.readKeys(t, kind, pairs)
	}
}

// findType returns the type of a source; nil, after it has added a problem, if
// there is none.
func (r *accountsReader) findType(name *token.Token, pairs []*ast.MappingValueNode) *sourceType {
	var names []string
	for _, kind := range r.types {
		names = append(names, kind.name)
	}
	for _, pair := range pairs {
		if pair.Key.GetToken().Value != "type" {
			continue
		}
		v, given, ok := r.readValues("type", text, pair.Value)
		if !ok || !given {
			break
		}
		if i := slices.Index(names, v[0]); i >= 0 {
			return &r.types[i]
		}
		r.addProblem(pair.Value.GetToken(), "unknown type %q%s: must be one of %s", v[0], didYouMean(v[0], names), strings.Join(names, ", "))
		return nil
	}
	r.addProblem(name, "%s has no type: must be one of %s", name.Value, strings.Join(names, ", "))
	return nil
}

// readKeys reads the keys of one source.
func (r *accountsReader) readKeys(name *token.Token, kind *sourceType, pairs []*ast.MappingValueNode) {
	keys, create := kind.begin()
	d := &sourceDefinition{name: name.Value, create: create, values: map[string][]string{"type": {kind.name}}}
	before := len(r.wrong)
	places := map[string]*token.Token{}
	first := map[string]int{}
	for _, pair := range pairs {
		t := pair.Key.GetToken()
		if t.Value != "type" && !r.isRepeated(t, first) && r.readKey(kind, keys, pair, d) {
			places[t.Value] = t
		}
	}
	for _, k := range keys {
		if k.required && places[k.name] == nil && len(r.wrong) == before {
			r.addProblem(name, "%s is missing in %s: %s", k.name, name.Value, k.help)
		}
	}
	if len(r.wrong) > before {
		return
	}
	r.found.sources[name.Value] = d
	r.tryCreate(name, places)
}

// tryCreate makes a source, to find out what is wrong with its files.
func (r *accountsReader) tryCreate(name *token.Token, places map[string]*token.Token) {
	s, err := r.found.sources[name.Value].newSource(sourceEnv{logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		r.tried[name.Value] = s
		f, ok := s.(accounts.Final)
		r.final[name.Value] = ok && f.RejectsUnknown()
		s.Close()
		return
	}
	at := name
	if e, ok := errors.AsType[keyError](err); ok && places[e.key] != nil {
		at, err = places[e.key], e.err
	}
	r.wrong = append(r.wrong, newFileProblem(r.sourceOf(at, ""), at.Value, err))
}

// readKey sets one key of a source, and reports whether it was right.
func (r *accountsReader) readKey(kind *sourceType, keys []sourceKey, pair *ast.MappingValueNode, d *sourceDefinition) bool {
	t := pair.Key.GetToken()
	i := slices.IndexFunc(keys, func(k sourceKey) bool { return k.name == t.Value })
	if i < 0 {
		names := []string{"type"}
		for _, k := range keys {
			names = append(names, k.name)
		}
		r.addProblem(t, "unknown key %q of a source of type %s%s", t.Value, kind.name, didYouMean(strings.ReplaceAll(t.Value, "-", "_"), names))
		return false
	}
	values, given, ok := r.readValues(t.Value, keys[i].form, pair.Value)
	if !ok || !given {
		return false
	}
	if err := keys[i].set(values); err != nil {
		r.addProblem(pair.Value.GetToken(), "%s: %s", t.Value, textWithoutStatus(err))
		return false
	}
	d.addKey(&keys[i], values)
	return true
}

// readDomain reads the order of one domain's sources.
func (r *accountsReader) readDomain(pair *ast.MappingValueNode, first map[string]int) {
	t := pair.Key.GetToken()
	domain, err := protocol.ParseDomain(t.Value)
	switch {
	case r.isRepeated(t, first):
		return
	case err != nil:
		r.addProblem(t, "%s", textWithoutStatus(err))
		return
	case len(r.served) > 0 && !slices.Contains(r.served, domain):
		r.addProblem(t, "%s is not a domain of this site%s", t.Value, didYouMean(domain, r.served))
		return
	case r.found.domains[domain] != nil:
		r.addProblem(t, "%s is there twice", domain)
		return
	}
	items := []ast.Node{pair.Value}
	if seq, ok := pair.Value.(*ast.SequenceNode); ok {
		items = seq.Values
	}
	for _, item := range items {
		r.addToDomain(domain, item)
	}
	if len(r.found.domains[domain]) == 0 && len(r.wrong) == 0 {
		r.addProblem(t, "%s has no sources: name at least one, like %s", t.Value, accounts.Table)
	}
	r.checkIntrospection(t, r.found.domains[domain])
}

// checkIntrospection refuses sources of one domain that would show each other's
// tokens to their providers, unless each says so.
func (r *accountsReader) checkIntrospection(domain *token.Token, names []string) {
	var introspecting []accounts.Source
	var texts []string
	for _, name := range names {
		i, ok := r.tried[name].(accounts.Introspector)
		if !ok {
			continue
		}
		if opaque, _ := i.Introspects(); opaque {
			introspecting, texts = append(introspecting, r.tried[name]), append(texts, name)
		}
	}
	if accounts.NeedsOneIntrospector(introspecting) {
		r.addProblem(domain, "%s has several sources with introspection (%s), and an opaque token does not say which provider has issued it: "+
			"keep one of them, or set introspect_all in each, if their providers may see one another's tokens", domain.Value, strings.Join(texts, ", "))
	}
}

// addToDomain appends the source that an item names to a domain's sources.
func (r *accountsReader) addToDomain(domain string, item ast.Node) {
	if item.Type() == ast.NullType {
		return
	}
	name, ok := r.readScalar("a source", text, item)
	before := r.found.domains[domain]
	switch {
	case !ok:
	case name != accounts.Table && r.named[name] == nil:
		names := append(slices.Sorted(maps.Keys(r.named)), accounts.Table)
		r.addProblem(item.GetToken(), "there is no source %q%s", name, didYouMean(name, names))
	case slices.Contains(before, name):
		r.addProblem(item.GetToken(), "%s is named twice for %s", name, domain)
	case len(before) > 0 && r.final[before[len(before)-1]]:
		r.addProblem(item.GetToken(), "%s is never asked: %s before it can't tell unknown users from wrong passwords, so it has to be the last source of %s", name, before[len(before)-1], domain)
	default:
		r.used[name] = true
		r.found.domains[domain] = append(before, name)
	}
}
