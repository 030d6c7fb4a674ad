package server

import (
	"context"

	"simpd/protocol"
)

// acl lists the user's rules, or sets or removes one (SIMP.md, section 8).
func (s *session) acl(ctx context.Context, r *request) {
	who, given := r.line.Get("who")
	if !given && !r.asksNothing("message", "presence") {
		s.refuse(r, protocol.Errorf(protocol.StatusBadRequest, "who is missing: ACL who=PATTERN"))
		return
	}
	if !given {
		s.answer(r, ruleLines(r, s.user.Rules()))
		return
	}
	rule, err := s.decodeRule(r, who)
	if err == nil {
		_, err = s.awaitChange(ctx, s.ruleCost(&rule))
	}
	if err != nil {
		s.refuse(r, err)
		return
	}
	if err := s.user.SetRule(ctx, rule); err != nil {
		s.refuse(r, err)
		return
	}
	s.ok(r)
}

func ruleLines(r *request, rules []protocol.Rule) []byte {
	var b []byte
	for _, rule := range rules {
		b = protocol.AppendResponse(b, r.line.Tag, protocol.StatusPartial)
		b = protocol.AppendParam(b, "who", rule.Shown().String())
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
	err = s.server.idn.read(who, func() error { return s.server.decodeWho(&rule, who) })
	if err != nil {
		return rule, err
	}
	if rule.Message, err = permission(r, "message"); err != nil {
		return rule, err
	}
	rule.Presence, err = permission(r, "presence")
	return rule, err
}

// decodeWho reads whom a rule speaks of.
func (s *Server) decodeWho(rule *protocol.Rule, who string) (err error) {
	if rule.Who, err = protocol.ParsePattern(who); err != nil {
		return err
	}
	if a, ok := rule.Who.Address(); ok {
		own, given := s.own(a), rule.Who
		// A user of this site is shown as the rule compares, another site's as given.
		if rule.Who = given.Key(own); !own && rule.Who != given {
			rule.Written = given
		}
	}
	return nil
}

// ruleCost returns what the change to a rule counts for, in parts. All who watch
// the user are looked at where the rule says something of presence, or did.
func (s *session) ruleCost(rule *protocol.Rule) int {
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
