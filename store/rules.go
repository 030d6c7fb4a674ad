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
// however many rules there are. It is immutable, and shared by all who read it.
// The nil ACL is empty.
type ACL struct {
	rules []Rule // ascending by Who
	// keys are of the rules that compare as something else than Who, for
	// others' addresses and for the site's own; ascending. Rules are set by
	// their keys, so that only what older versions stored is in them.
	keys [2][]ruleKey
}

// ruleKey says that a rule's pattern compares as key.
type ruleKey struct{ key, who string }

func (k ruleKey) compare(o ruleKey) int {
	return cmp.Or(strings.Compare(k.key, o.key), strings.Compare(k.who, o.who))
}

// newACL returns the list of rules that ascend by Who.
func newACL(rules []Rule) *ACL {
	l := &ACL{rules: rules}
	for _, r := range rules {
		for own := range l.keys {
			if k, ok := keyOf(r.Who, own == 1); ok {
				l.keys[own] = append(l.keys[own], k)
			}
		}
	}
	for own := range l.keys {
		slices.SortFunc(l.keys[own], ruleKey.compare)
	}
	return l
}

// keyOf returns as what a pattern compares, if that is not itself.
func keyOf(who protocol.Pattern, own bool) (k ruleKey, ok bool) {
	key := who.Key(own)
	return ruleKey{key.String(), who.String()}, key != who
}

// Rules returns the rules in the order of their patterns. They must not be
// changed.
func (l *ACL) Rules() []Rule {
	if l == nil {
		return nil
	}
	return l.rules
}

// IsEmpty reports whether there are no rules.
func (l *ACL) IsEmpty() bool { return l == nil || len(l.rules) == 0 }

// Allowed asks the rules whether somebody may do thing: the most specific rule
// that names the thing decides (SIMP.md, section 8). It returns decided false
// where none does: then the site's policy decides. key is their address as
// protocol.Address.RuleKey returns it, and isLocal reports whether they are of
// the site's own domains. It allocates nothing.
func (l *ACL) Allowed(key protocol.Address, isLocal bool, thing Thing) (decided, allow bool) {
	if l.IsEmpty() {
		return false, false
	}
	said := l.ofAddress(key.String(), isLocal, thing)
	if said == protocol.Unset {
		said = l.ofDomain(key.Domain(), thing)
	}
	if said == protocol.Unset {
		said = l.of("*", thing)
	}
	return said != protocol.Unset, said == protocol.Allow
}

// of returns what the rule of that very pattern says.
func (l *ACL) of(pattern string, thing Thing) protocol.Permission {
	i, found := slices.BinarySearchFunc(l.rules, pattern, comparePattern)
	if !found {
		return protocol.Unset
	}
	return permissionFor(&l.rules[i], thing)
}

func permissionFor(r *Rule, thing Thing) protocol.Permission {
	if thing == Presences {
		return r.Presence
	}
	return r.Message
}

// ofDomain returns what the rule of @domain says.
func (l *ACL) ofDomain(domain string, thing Thing) protocol.Permission {
	i, found := slices.BinarySearchFunc(l.rules, domain, compareDomain)
	if !found {
		return protocol.Unset
	}
	return permissionFor(&l.rules[i], thing)
}

// compareDomain is comparePattern with "@" and the domain.
func compareDomain(r Rule, domain string) int {
	who := r.Who.String()
	if n := cmp.Compare(who[0], '@'); n != 0 {
		return n
	}
	return strings.Compare(who[1:], domain)
}

// ofAddress returns what the first of the rules says, in the order of their
// patterns, that compare as key and say something.
func (l *ACL) ofAddress(key string, isLocal bool, thing Thing) protocol.Permission {
	keys := l.keys[flag(isLocal)]
	said, isAsked := protocol.Unset, false
	i, _ := slices.BinarySearchFunc(keys, ruleKey{key: key}, ruleKey.compare)
	for ; i < len(keys) && keys[i].key == key && said == protocol.Unset; i++ {
		if !isAsked && keys[i].who > key {
			said, isAsked = l.of(key, thing), true
		}
		if said == protocol.Unset {
			said = l.of(keys[i].who, thing)
		}
	}
	if said == protocol.Unset && !isAsked {
		said = l.of(key, thing)
	}
	return said
}

// octets is about what l takes in memory.
func (l *ACL) octets() int {
	if l == nil {
		return 0
	}
	return len(l.rules) * int(unsafe.Sizeof(Rule{}))
}

// with returns a copy of l with a rule: in place of the one of its pattern, or
// without that if the rule says nothing.
func (l *ACL) with(i int, found bool, rule Rule) *ACL {
	changed := &ACL{rules: replaced(l.Rules(), i, found, rule, rule.Empty())}
	for own := range changed.keys {
		if l != nil {
			changed.keys[own] = l.keys[own]
		}
		if k, ok := keyOf(rule.Who, own == 1); ok {
			at, known := slices.BinarySearchFunc(changed.keys[own], k, ruleKey.compare)
			if known != rule.Empty() {
				continue
			}
			changed.keys[own] = replaced(changed.keys[own], at, known, k, rule.Empty())
		}
	}
	return changed
}

// setRule sets the rule of one pattern, or removes it if it says nothing.
func (t *Table) setRule(c *storev1.SetRule) Result {
	if r := t.checkOwner(c.GetOwner()); r.Refusal != None {
		return r
	}
	rule, ok := ruleOf(c)
	if !ok {
		return refuse(Malformed, "a rule without a pattern, or with an unknown permission")
	}
	list, _ := t.now.rules.get(c.GetOwner())
	rules := list.Rules()
	i, found := slices.BinarySearchFunc(rules, c.GetPattern(), comparePattern)
	switch {
	case rule.Empty() && !found, found && rules[i].Same(rule):
		return Result{}
	case !found && len(rules) >= protocol.MaxRules:
		return refuse(TooManyRules, "%s has %d rules already", c.GetOwner(), len(rules))
	}
	if changed := list.with(i, found, rule); changed.IsEmpty() {
		t.now.rules.delete(c.GetOwner())
	} else {
		t.now.rules.set(c.GetOwner(), changed)
	}
	return t.commitList(EventRules, c.GetOwner(), list.octets())
}
