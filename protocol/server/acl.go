package server

import (
	"context"

	"simpd/protocol"
)

// handleACL lists the user's rules, or sets or removes one (SIMP.md, section
// 8).
func (s *session) handleACL(ctx context.Context, r *request) error {
	who, given := r.line.Get("who")
	if !given && !r.hasNoneOf("message", "presence") {
		return protocol.Errorf(protocol.StatusBadRequest, "who is missing: ACL who=PATTERN")
	}
	if !given {
		all := s.user.Rules()
		s.chargeLines(len(all))
		s.respond(r, ruleLines(r, all))
		return nil
	}
	rule, err := s.decodeRule(r, who)
	if err != nil {
		return err
	}
	if _, err := s.awaitChange(ctx, s.ruleChange(&rule)); err != nil {
		return err
	}
	if err := s.user.SetRule(ctx, rule); err != nil {
		return err
	}
	s.respondOK(r)
	return nil
}

func ruleLines(r *request, rules []protocol.Rule) []byte {
	var b []byte
	for _, rule := range rules {
		b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusPartial)
		b = protocol.AppendParam(b, "who", rule.Display().String())
		if rule.Message != protocol.Unset {
			b = protocol.AppendParam(b, "message", rule.Message.String())
		}
		if rule.Presence != protocol.Unset {
			b = protocol.AppendParam(b, "presence", rule.Presence.String())
		}
		b = protocol.AppendEnd(b)
	}
	return protocol.AppendResponse(b, r.line.Tag, protocol.StatusOK)
}

func (s *session) decodeRule(r *request, who string) (rule protocol.Rule, err error) {
	err = s.server.idn.parse(who, func() error { return s.server.decodeWho(&rule, who) })
	if err != nil {
		return rule, err
	}
	if rule.Message, err = permission(r, "message"); err != nil {
		return rule, err
	}
	rule.Presence, err = permission(r, "presence")
	return rule, err
}

// decodeWho parses the pattern of a rule.
func (s *Server) decodeWho(rule *protocol.Rule, who string) (err error) {
	if rule.Who, err = protocol.ParsePattern(who); err != nil {
		return err
	}
	if a, ok := rule.Who.Address(); ok {
		own, given := s.isLocal(a), rule.Who
		// A user of this site is shown as the rule compares, another site's as given.
		if rule.Who = given.Key(own); !own && rule.Who != given {
			rule.Original = given
		}
	}
	return nil
}

// ruleChange returns the kind of a change of a rule. It affects all watchers of
// the user if the rule concerns presence, or did before.
func (s *session) ruleChange(rule *protocol.Rule) changeKind {
	if rule.Presence != protocol.Unset {
		return presenceChange
	}
	for _, old := range s.user.Rules() {
		if old.Who == rule.Who && old.Presence != protocol.Unset {
			return presenceChange
		}
	}
	return listChange
}

func permission(r *request, key string) (protocol.Permission, error) {
	v, given := r.line.Get(key)
	if !given {
		return protocol.Unset, nil
	}
	p, ok := protocol.ParsePermission(v)
	if !ok {
		return p, protocol.Errorf(protocol.StatusBadRequest, "invalid %s=%s: must be allow or deny", key, protocol.Quote(v))
	}
	return p, nil
}
