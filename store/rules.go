package store

import (
	"cmp"
	"slices"
	"strings"
	"unsafe"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// ACL is a user's access control list. A look-up takes three binary searches,
// however many rules there are. It is immutable and shared by all readers.
// The nil ACL is empty.
type ACL struct {
	rules []Rule // ascending by Who
	// keys holds the rules whose comparison key differs from Who, for remote
	// addresses and for local ones, sorted. Rules are stored under their keys
	// today; only rules from older versions are in here.
	keys [2][]ruleKey
}

// ruleKey records that the rule of pattern who is compared by key.
type ruleKey struct{ key, who string }

func (k ruleKey) compare(o ruleKey) int {
	return cmp.Or(strings.Compare(k.key, o.key), strings.Compare(k.who, o.who))
}

// newACL returns the list of rules, which are sorted by Who.
func newACL(rules []Rule) *ACL {
	l := &ACL{rules: rules}
	for _, r := range rules {
		for own := range l.keys {
			if k, ok := ruleKeyOf(r.Who, own == 1); ok {
				l.keys[own] = append(l.keys[own], k)
			}
		}
	}
	for own := range l.keys {
		slices.SortFunc(l.keys[own], ruleKey.compare)
	}
	return l
}

// ruleKeyOf returns the comparison key of a pattern, if it differs from the
// pattern.
func ruleKeyOf(who protocol.Pattern, own bool) (k ruleKey, ok bool) {
	key := who.Key(own)
	return ruleKey{key.String(), who.String()}, key != who
}

// Rules returns the rules sorted by pattern. They must not be changed.
func (l *ACL) Rules() []Rule {
	if l == nil {
		return nil
	}
	return l.rules
}

// IsEmpty reports whether there are no rules.
func (l *ACL) IsEmpty() bool { return l == nil || len(l.rules) == 0 }

// Allowed evaluates the rules for an action: the most specific rule that
// mentions the action decides (SIMP.md, section 8). decided is false if there
// is none; then the site's policy decides. key is the address as
// protocol.Address.RuleKey returns it, and isLocal reports whether it is in
// one of the site's own domains. Allowed does not allocate.
func (l *ACL) Allowed(key protocol.Address, isLocal bool, thing Action) (decided, allow bool) {
	if l.IsEmpty() {
		return false, false
	}
	said := l.addressPermission(key.String(), isLocal, thing)
	if said == protocol.Unset {
		said = l.domainPermission(key.Domain(), thing)
	}
	if said == protocol.Unset {
		said = l.permissionOf("*", thing)
	}
	return said != protocol.Unset, said == protocol.Allow
}

// permissionOf returns the permission of the rule with exactly that pattern.
func (l *ACL) permissionOf(pattern string, thing Action) protocol.Permission {
	i, found := slices.BinarySearchFunc(l.rules, pattern, comparePattern)
	if !found {
		return protocol.Unset
	}
	return permissionFor(&l.rules[i], thing)
}

func permissionFor(r *Rule, thing Action) protocol.Permission {
	if thing == ActionPresence {
		return r.Presence
	}
	return r.Message
}

// domainPermission returns the permission of the rule for @domain.
func (l *ACL) domainPermission(domain string, thing Action) protocol.Permission {
	i, found := slices.BinarySearchFunc(l.rules, domain, compareDomain)
	if !found {
		return protocol.Unset
	}
	return permissionFor(&l.rules[i], thing)
}

// compareDomain is comparePattern for "@" and the domain.
func compareDomain(r Rule, domain string) int {
	who := r.Who.String()
	if n := cmp.Compare(who[0], '@'); n != 0 {
		return n
	}
	return strings.Compare(who[1:], domain)
}

// addressPermission returns the permission of the first rule, in the order of
// patterns, that is compared by key and mentions the action.
func (l *ACL) addressPermission(key string, isLocal bool, thing Action) protocol.Permission {
	keys := l.keys[boolToUint64(isLocal)]
	said, isAsked := protocol.Unset, false
	i, _ := slices.BinarySearchFunc(keys, ruleKey{key: key}, ruleKey.compare)
	for ; i < len(keys) && keys[i].key == key && said == protocol.Unset; i++ {
		if !isAsked && keys[i].who > key {
			said, isAsked = l.permissionOf(key, thing), true
		}
		if said == protocol.Unset {
			said = l.permissionOf(keys[i].who, thing)
		}
	}
	if said == protocol.Unset && !isAsked {
		said = l.permissionOf(key, thing)
	}
	return said
}

// octets estimates the memory that l takes.
func (l *ACL) octets() int {
	if l == nil {
		return 0
	}
	return len(l.rules) * int(unsafe.Sizeof(Rule{}))
}

// withRule returns a copy of l with the rule added or replaced, or removed if
// it is empty.
func (l *ACL) withRule(i int, found bool, rule Rule) *ACL {
	changed := &ACL{rules: withReplaced(l.Rules(), i, found, rule, rule.IsEmpty())}
	for own := range changed.keys {
		if l != nil {
			changed.keys[own] = l.keys[own]
		}
		if k, ok := ruleKeyOf(rule.Who, own == 1); ok {
			at, known := slices.BinarySearchFunc(changed.keys[own], k, ruleKey.compare)
			if known != rule.IsEmpty() {
				continue
			}
			changed.keys[own] = withReplaced(changed.keys[own], at, known, k, rule.IsEmpty())
		}
	}
	return changed
}

// setRule sets the rule of one pattern, or removes it if it is empty.
func (t *Table) setRule(c *storev1.SetRule) Result {
	if r := t.checkOwner(c.GetOwner()); r.Refusal != None {
		return r
	}
	rule, ok := ruleFromProto(c)
	if !ok {
		return refuse(Malformed, "a rule without a pattern, or with an unknown permission")
	}
	list, _ := t.current.rules.get(c.GetOwner())
	rules := list.Rules()
	i, found := slices.BinarySearchFunc(rules, c.GetPattern(), comparePattern)
	switch {
	case rule.IsEmpty() && !found, found && rules[i].Equal(rule):
		return Result{}
	case !found && len(rules) >= protocol.MaxRules:
		return refuse(TooManyRules, "%s has %d rules already", c.GetOwner(), len(rules))
	}
	if changed := list.withRule(i, found, rule); changed.IsEmpty() {
		t.current.rules.delete(c.GetOwner())
	} else {
		t.current.rules.set(c.GetOwner(), changed)
	}
	return t.commitList(EventRules, c.GetOwner(), list.octets())
}
