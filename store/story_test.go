package store_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"simpd/protocol"
	"simpd/store"
)

var update = flag.Bool("update", false, "write the expected outputs and the golden files anew")

// TestStories runs testdata/*.txt: commands up to a line of ----, and what
// they print up to an empty line. Each command that changes the table prints
// what became of it, and below it the event of each index that it took. The
// commands are those of story.words and story.looks.
func TestStories(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no stories")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runStory(t, file) })
	}
}

func runStory(t *testing.T, file string) {
	told, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{site: newSite(t, store.Config{})}
	var got strings.Builder
	for i, scene := range strings.Split(strings.TrimSpace(string(told)), "\n\n") {
		commands, _, _ := strings.Cut(scene, "\n----")
		said := s.tell(commands)
		fmt.Fprintf(&got, "%s\n----\n%s\n", commands, said)
		if want := commands + "\n----\n" + said; !*update && strings.TrimSpace(want) != strings.TrimSpace(scene) {
			t.Errorf("scene %d: got\n%s\nwant\n%s", i+1, want, scene)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimSpace(got.String())+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type story struct {
	*site
	out strings.Builder
}

// tell runs commands and returns what they print.
func (s *story) tell(commands string) string {
	s.out.Reset()
	for line := range strings.Lines(commands) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		w := parseWords(line)
		if look, ok := s.looks()[w.verb]; ok {
			look(w)
			continue
		}
		c := w.change()
		if c == nil {
			s.Fatalf("no such command: %s", line)
		}
		before := s.Index()
		s.result(s.apply(c)[0], before)
	}
	return s.out.String()
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *story) result(r store.Result, before uint64) {
	line := fmt.Sprintf("%d unchanged", r.Index)
	if r.Applied {
		line = fmt.Sprintf("%d ok", r.Index)
	}
	if r.Refusal != store.None {
		line = fmt.Sprintf("%d %s: %s", r.Index, r.Refusal, r.Detail)
	}
	if r.Epoch > 0 {
		line += fmt.Sprintf(" epoch=%d", r.Epoch)
	}
	if r.FirstBound > 0 {
		line += fmt.Sprintf(" bound=%d", r.FirstBound)
	}
	for _, b := range r.Displaced {
		line += " displaced=" + b.Session.String()
	}
	if r.More {
		line += " left"
	}
	if r.AppPassword > 0 {
		line += fmt.Sprintf(" id=%d", r.AppPassword)
	}
	if r.Invitation > 0 {
		line += fmt.Sprintf(" invitation=%d", r.Invitation)
	}
	s.say("%s", line)
	if events, ok := s.Events(before, 100); ok {
		s.events(events)
	} else if events, ok := s.Events(r.Index-1, 1); ok {
		s.events(events)
	}
}

var kinds = map[store.EventKind]string{
	store.EventPresence: "presence", store.EventAccount: "account", store.EventRules: "rules", store.EventContacts: "contacts",
	store.EventNodeUp: "node-up", store.EventNodeDown: "node-down", store.EventDraining: "draining", store.EventNodeRemoved: "node-removed",
	store.EventSchema: "schema", store.EventHistory: "history", store.EventDigest: "digest", store.EventKeys: "keys",
	store.EventInvitation: "invitation", store.EventSealedValue: "sealed", store.EventGroups: "contact-groups",
	store.EventConsole: "console",
}

func (s *story) events(events []store.Event) {
	for _, e := range events {
		line := fmt.Sprintf("  @%d %s", e.Index, kinds[e.Kind])
		if e.Node != "" {
			line += " " + e.Node
		}
		if !e.Address.IsZero() {
			line += fmt.Sprintf(" %s %s", e.Address, presence(e.After.Presence()))
		}
		if e.Visible {
			line += " visible"
		}
		s.say("%s", line)
	}
}

func presence(p protocol.Presence) string {
	if p.State == protocol.Deaf {
		return "deaf"
	}
	line := fmt.Sprintf("%s since=%s index=%d", p.State, p.Since.Format("04:05"), p.Index)
	if p.Note != "" {
		line += " note=" + p.Note
	}
	return line
}

// looks are the commands that change nothing.
func (s *story) looks() map[string]func(w words) {
	return map[string]func(w words){
		"who":      func(w words) { s.who(address(w.arg(0))) },
		"routes":   func(w words) { s.routes(address(w.arg(0))) },
		"nodes":    func(words) { s.nodes() },
		"events":   func(w words) { s.eventsAfter(w.number("after")) },
		"allowed":  s.allowed,
		"account?": func(w words) { s.account(address(w.arg(0))) },
		"rules":    s.rules,
		"contacts": s.contacts,
		"apps":     s.apps,
		"keys":     s.deviceKeys,
		"invited":  func(words) { s.invitations() },
		"groups":   func(w words) { s.contactGroups(w.args) },
		"snapshot": func(words) { s.snapshot() },
		"sealed": func(words) {
			for _, v := range s.View().SealedValues() {
				s.say("%s %s until=%s", v.Name, v.Octets, v.Until.UTC().Format("04:05"))
			}
		},
		"console": func(words) { s.say("generation=%d", s.ConsoleGeneration()) },
	}
}

func (s *story) who(a protocol.Address) {
	l := s.Listener(a)
	s.say("%s", presence(l.Presence()))
	if l != nil {
		s.bindings(l.Bindings)
	}
}

func (s *story) bindings(bindings []store.Binding) {
	for _, b := range bindings {
		s.say("  %s epoch=%d %s since=%s index=%d bound=%d note=%q", b.Session, b.Epoch, b.State, b.Since.Format("04:05"), b.Index, b.Bound, b.Note)
	}
}

func (s *story) routes(a protocol.Address) {
	for _, session := range s.Routes(nil, a) {
		s.say("  %s", session)
	}
}

func (s *story) nodes() {
	for _, n := range s.Nodes() {
		s.say("%s epoch=%d down=%v draining=%v dirty=%v boot=%d", n.ID, n.Epoch, n.Down, n.Draining, n.NeedsReap, n.Incarnation)
	}
}

func (s *story) eventsAfter(index uint64) {
	events, ok := s.Events(index, 100)
	if !ok {
		s.say("not kept")
	}
	s.events(events)
}

func (s *story) allowed(w words) {
	thing := store.ActionMessage
	if w.keys["to"] == "watch" {
		thing = store.ActionPresence
	}
	decided, allow := s.Allowed(address(w.arg(0)), address(w.arg(1)), w.keys["of"] != "elsewhere", thing)
	switch {
	case !decided:
		s.say("undecided")
	case allow:
		s.say("allowed")
	default:
		s.say("denied")
	}
}

func (s *story) account(a protocol.Address) {
	account, ok := s.Account(a)
	if !ok {
		s.say("none")
		return
	}
	s.say("disabled=%v credential=%d exclusive=%d", account.Disabled, account.Credential, account.Exclusive)
}

func (s *story) apps(w words) {
	account, _ := s.Account(address(w.arg(0)))
	for _, p := range account.AppPasswords() {
		line := fmt.Sprintf("%d %q created=%s credential=%d", p.ID, p.Name, p.Created.Format("04:05"), p.Credential)
		if !p.Until.IsZero() {
			line += " until=" + p.Until.Format("04:05")
		}
		if p.UsedDay > 0 {
			line += fmt.Sprintf(" used=%d", p.UsedDay)
		}
		s.say("%s", line)
	}
}

func (s *story) deviceKeys(w words) {
	account, _ := s.Account(address(w.arg(0)))
	for _, k := range account.Keys() {
		line := fmt.Sprintf("%d %s %q index=%d created=%s", k.AddedAs, k.ID[:6], k.Name, k.Index, k.Created.Format("04:05"))
		if k.By != "" {
			line += " by=" + k.By[:6]
		}
		if k.RevokedAs > 0 {
			line += fmt.Sprintf(" revoked=%s as=%d by=%q", k.Revoked.Format("04:05"), k.RevokedAs, k.RevokedBy)
		}
		s.say("%s", line)
	}
	s.say("head %s", account.KeyHead().String()[:6])
}

func (s *story) invitations() {
	for _, i := range s.View().Invitations() {
		s.say("%d %s %d of %d created=%s until=%s contact=%q by=%q", i.ID, i.Domain, i.Used, i.Uses,
			i.Created.Format("04:05"), i.Until.Format("04:05"), i.Contact, i.By)
	}
}

// contactGroups shows the groups of a user, or all.
func (s *story) contactGroups(of []string) {
	groups := s.View().ContactGroups()
	if len(of) > 0 {
		groups = s.ContactGroupsOf(address(of[0]))
	}
	for _, g := range groups {
		line := fmt.Sprintf("%s %s %q %d:", g.Source, g.Key, g.Name, g.Len())
		g.Members(func(a protocol.Address, name string) bool {
			line += fmt.Sprintf(" %s %q", a, name)
			return true
		})
		s.say("%s", line)
	}
}

func (s *story) rules(w words) {
	for _, r := range s.Rules(address(w.arg(0))) {
		s.say("%s message=%s presence=%s", r.Who, r.Message, r.Presence)
	}
}

func (s *story) contacts(w words) {
	for _, c := range s.Contacts(address(w.arg(0))) {
		s.say("%s %q", c.Address, c.Name)
	}
}

// snapshot goes on with a table restored from a snapshot of this one.
func (s *story) snapshot() {
	before := s.View().Digest()
	var w bytes.Buffer
	if _, err := s.Snapshot().WriteTo(&w); err != nil {
		s.Fatal(err)
	}
	restored := store.New(store.Config{})
	if err := restored.Restore(&w); err != nil {
		s.Fatal(err)
	}
	if restored.View().Digest() != before {
		s.Errorf("the restored table is another")
	}
	s.Table = restored
	s.say("restored at %d", s.Index())
}
