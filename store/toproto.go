package store

import (
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// What the table's types are in the log and in snapshots.

// SessionProto returns s as the log has it.
func SessionProto(s Session) *storev1.Session {
	p := new(storev1.Session)
	s.PutProto(p)
	return p
}

// PutProto sets p to s.
func (s Session) PutProto(p *storev1.Session) {
	p.Node, p.Epoch, p.Number = s.Node, s.Epoch, s.Number
}

// StateProto returns UNSPECIFIED if s is not a state of a listener.
func StateProto(s protocol.State) storev1.State {
	switch s {
	case protocol.Available:
		return storev1.State_STATE_AVAILABLE
	case protocol.Busy:
		return storev1.State_STATE_BUSY
	case protocol.Away:
		return storev1.State_STATE_AWAY
	}
	return storev1.State_STATE_UNSPECIFIED
}

// PermissionProto returns UNSPECIFIED for protocol.Unset.
func PermissionProto(p protocol.Permission) storev1.Permission {
	switch p {
	case protocol.Allow:
		return storev1.Permission_PERMISSION_ALLOW
	case protocol.Deny:
		return storev1.Permission_PERMISSION_DENY
	}
	return storev1.Permission_PERMISSION_UNSPECIFIED
}

// VerifierProto returns v as the log has it.
func VerifierProto(v *Verifier) *storev1.Verifier {
	return &storev1.Verifier{Salt: v.Salt, Iterations: v.Iterations, StoredKey: v.StoredKey, ServerKey: v.ServerKey}
}

// RulesRecord returns a user's rules as a snapshot has them.
func RulesRecord(owner string, rules []Rule) *storev1.Record {
	r := &storev1.Rules{Owner: owner, Rule: make([]*storev1.SetRule, len(rules))}
	for i, rule := range rules {
		r.Rule[i] = &storev1.SetRule{
			Pattern: rule.Who.String(), Message: PermissionProto(rule.Message), Presence: PermissionProto(rule.Presence),
			Written: rule.Original.String(),
		}
	}
	return &storev1.Record{Kind: &storev1.Record_Rules{Rules: r}}
}

// ContactsRecord returns a user's contacts as a snapshot has them.
func ContactsRecord(owner string, contacts []Contact) *storev1.Record {
	c := &storev1.Contacts{Owner: owner, Contact: make([]*storev1.SetContact, len(contacts))}
	for i, contact := range contacts {
		c.Contact[i] = &storev1.SetContact{Address: contact.Address.String(), Name: contact.Name}
	}
	return &storev1.Record{Kind: &storev1.Record_Contacts{Contacts: c}}
}
