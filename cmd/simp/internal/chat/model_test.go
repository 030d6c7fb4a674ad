package chat

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func address(t *testing.T, s string) protocol.Address {
	t.Helper()
	a, err := protocol.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// story is a model that is told what happens, by a test.
type story struct {
	t *testing.T
	*Model
	ids  int
	now  time.Time
	sent []Send
}

func begin(t *testing.T) *story {
	return &story{t: t, Model: New(Config{Me: address(t, "alice@example.com")}), now: noon}
}

// update tells the model something, and returns what is to be done, a line
// each.
func (s *story) update(e Event) string {
	s.t.Helper()
	return s.describe(s.Update(e))
}

func (s *story) describe(effects []Effect) string {
	var lines []string
	for _, e := range effects {
		lines = append(lines, s.describeOne(e))
	}
	return strings.Join(lines, "\n")
}

func (s *story) describeOne(e Effect) string {
	switch e := e.(type) {
	case Send:
		s.sent = append(s.sent, e)
		return fmt.Sprintf("send %s to %v: %s", e.ID, e.To, e.Text)
	case Request:
		names := [...]string{"add", "remove", "state", "block", "watch", "watchers", "verify", "report"}
		line := fmt.Sprintf("%s %s%s", names[e.Kind], e.Address, e.Name)
		if e.Kind == SetState {
			line = fmt.Sprintf("state %s listen=%v", e.State, e.Listen)
			if e.Note != nil {
				line += fmt.Sprintf(" note=%q", *e.Note)
			}
		}
		return line
	case ShowMessage:
		return FormatMessage(e.Entry, time.UTC)
	case ShowOutcome:
		return FormatOutcome(e)
	case ShowPresence:
		return FormatPresence(e.Presence)
	case Note:
		return "note: " + e.Text
	case Notify:
		return fmt.Sprintf("notify %s: %s", e.Title, e.Text)
	}
	s.t.Fatalf("unknown effect %T", e)
	return ""
}

func (s *story) typed(text string) string {
	s.t.Helper()
	s.ids++
	return s.update(Typed{Text: text, ID: fmt.Sprint("m", s.ids), At: s.now})
}

func (s *story) outcome(id string, results ...any) string {
	s.t.Helper()
	o := Outcome{ID: id}
	for i := 0; i < len(results); i += 2 {
		o.Results = append(o.Results, Result{To: address(s.t, results[i].(string)), Status: protocol.Status(results[i+1].(int))})
	}
	return s.update(o)
}

func (s *story) presence(who string, state protocol.State, note string) string {
	s.t.Helper()
	return s.update(PresenceChanged{protocol.Presence{Address: address(s.t, who), State: state, Note: note}})
}

func (s *story) expect(got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestASentMessageAndItsOutcomes(t *testing.T) {
	for _, c := range []struct {
		status int
		line   string
		code   int
	}{
		{200, "-- delivered to bob@example.com: Lunch?", 0},
		{201, "-- in doubt, bob@example.com: Lunch?", 4},
		{480, "-- not delivered to bob@example.com (not listening): Lunch?", 3},
		{481, "-- not delivered to bob@example.com (not reading): Lunch?", 1},
		{486, "-- not delivered to bob@example.com (refused): Lunch?", 1},
		{404, "-- not delivered to bob@example.com (no such user): Lunch?", 1},
		{429, "-- not delivered to bob@example.com (slow down): Lunch?", 1},
		{503, "-- not delivered to bob@example.com (unreachable): Lunch?", 1},
	} {
		s := begin(t)
		s.expect(s.typed("/to bob"), "watch bob@example.com\nnote: you write to bob@example.com")
		s.update(Answered{Request: Request{Kind: Watch}})
		s.expect(s.typed("Lunch?"), "send m2 to [bob@example.com]: Lunch?")
		if s.update(Quit{}); s.Finished() || s.ExitCode() != 4 {
			t.Errorf("finished %v, exit code %d while a message waits", s.Finished(), s.ExitCode())
		}
		s.expect(s.outcome("m2", "bob@example.com", c.status), c.line)
		if !s.Finished() || s.ExitCode() != c.code {
			t.Errorf("%d: finished %v, exit code %d", c.status, s.Finished(), s.ExitCode())
		}
		s.expect(s.outcome("m2", "bob@example.com", 200), "") // nobody waits for it
	}
}

// Only a message in doubt can be sent again, under its own id, to those for
// whom it is in doubt; and after a 201 only a 200 ends the doubt.
func TestRetry(t *testing.T) {
	s := begin(t)
	s.typed("/to bob,carol,dora")
	s.expect(s.typed("hi"), "send m2 to [bob@example.com carol@example.com dora@example.com]: hi")
	s.expect(s.typed("/retry"), "note: no message here is in doubt")
	s.expect(s.outcome("m2", "bob@example.com", 200, "carol@example.com", 201, "dora@example.com", 480),
		"-- delivered to bob@example.com: hi\n-- in doubt, carol@example.com: hi\n-- not delivered to dora@example.com (not listening): hi")
	s.expect(s.typed("/retry"), "send m2 to [carol@example.com]: hi")
	s.expect(s.typed("/retry"), "note: no message here is in doubt") // one attempt at a time
	s.expect(s.outcome("m2", "carol@example.com", 480),
		"note: this attempt: not listening; whether carol@example.com has the message is still in doubt\n-- in doubt, carol@example.com: hi")
	if s.ExitCode() != 4 {
		t.Errorf("exit code %d", s.ExitCode())
	}
	s.now = s.now.Add(6 * time.Minute)
	s.expect(s.typed("/retry"), "note: it was written more than five minutes ago, so a client that has it may show it twice\nsend m2 to [carol@example.com]: hi")
	s.expect(s.outcome("m2", "carol@example.com", 200), "-- delivered to carol@example.com: hi")
	s.expect(s.typed("/retry"), "note: no message here is in doubt")
	if s.ExitCode() != 3 {
		t.Errorf("exit code %d", s.ExitCode())
	}
}

// A recipient of whom nothing was said is in doubt.
func TestAnOutcomeThatIsMissing(t *testing.T) {
	s := begin(t)
	s.typed("/to bob,carol")
	s.typed("hi")
	s.expect(s.outcome("m2", "carol@example.com", 200), "-- delivered to carol@example.com: hi\n-- in doubt, bob@example.com: hi")
}

func TestWhatIsNotSent(t *testing.T) {
	s := begin(t)
	s.expect(s.typed("hello?"), "note: not sent, because there is no recipient; choose one with /to IMA")
	if s.ExitCode() != 1 {
		t.Errorf("exit code %d", s.ExitCode())
	}
	s.typed("/to bob")
	s.expect(s.typed("  "), "")
	s.expect(s.typed("\xff"), "note: not sent, because it is not valid UTF-8; a terminal or locale with UTF-8 is required")
	s.expect(s.typed("//usr/bin"), "send m5 to [bob@example.com]: /usr/bin")
	for range MaxOutstanding - 1 {
		s.typed("x")
	}
	s.expect(s.typed("y"), "note: not sent, because too many messages are still waiting for their outcomes")
}

func TestUnreadMessages(t *testing.T) {
	s := begin(t)
	s.typed("/to bob")
	arrived := func(from, text string) string {
		return s.update(Arrived{From: address(t, from), At: noon, Text: text})
	}
	s.expect(arrived("bob@example.com", "hi"), "12:00 <bob@example.com> hi\nnotify bob@example.com: hi")
	s.expect(arrived("carol@example.com", "one\n12:00 <bob@example.com> forged"), "12:00 <carol@example.com> one\n    12:00 <bob@example.com> forged\nnotify carol@example.com: one\n12:00 <bob@example.com> forged")
	arrived("carol@example.com", "two")
	roster := s.Roster()
	if len(roster) != 2 || roster[0].Unread != 0 || roster[1].Unread != 2 || roster[1].FirstUnread != roster[1].Entries[0] {
		t.Errorf("roster %+v", roster)
	}
	s.Open(roster[1])
	if s.Current().Unread != 0 || s.Current().FirstUnread == nil {
		t.Error("the unread messages are not marked")
	}
	s.Cycle(1)
	if s.Current() != roster[0] || roster[1].FirstUnread != nil {
		t.Error("messages that were read are marked")
	}
}

func TestPresence(t *testing.T) {
	s := begin(t)
	s.update(ContactsRead{[]protocol.Contact{{Address: address(t, "carol@example.com")}, {Address: address(t, "bob@example.com"), Name: "Bob B."}}})
	s.expect(s.presence("bob@example.com", protocol.Available, "at my desk"), "** bob@example.com is available, at my desk")
	s.expect(s.presence("carol@example.com", protocol.Deaf, ""), "") // not news at the beginning
	s.expect(s.presence("bob@example.com", protocol.Available, "at my desk"), "")
	s.expect(s.presence("bob@example.com", protocol.Away, "\x1b[2J\u202e"), `** bob@example.com is away, \x1b[2J\u202e`)
	s.expect(s.presence("bob@example.com", protocol.Deaf, ""), "** bob@example.com is not listening")
	s.expect(s.presence("bob@example.com", protocol.Unknown, ""), "** bob@example.com is not known now")
	s.presence("bob@example.com", protocol.Busy, "")
	s.expect(s.update(LinkChanged{CutOff, "no majority"}), "note: the server is cut off from its site; presence is not known now")
	s.expect(s.typed("/who"), "note: bob@example.com is not known now (Bob B.)\nnote: carol@example.com is not known now\nwatchers ")
	s.expect(s.update(LinkChanged{Link: Online}), "note: the server is part of its site again; presence is known again")
	s.expect(s.update(LinkChanged{Offline, "EOF"}), "note: the connection was lost (EOF); connecting again; presence is not known now")
	s.expect(s.update(LinkChanged{Offline, "refused"}), "")
	if p := s.Presence(address(t, "bob@example.com")); p.State != protocol.Unknown {
		t.Errorf("without a connection bob is %v", p.State)
	}
	s.expect(s.update(LinkChanged{Link: Online}), "note: connected again")
	s.expect(s.typed("/who"), "note: bob@example.com is busy (Bob B.)\nnote: carol@example.com is not listening\nwatchers ")
	s.expect(s.update(Answered{Request: Request{Kind: Watchers}, Watchers: []protocol.Address{address(t, "dora@example.com")}, Partial: true}),
		"note: watching you: dora@example.com\nnote: there may be others: a node of the site did not answer")
	s.expect(s.update(Answered{Request: Request{Kind: Watchers}}), "note: watching you: nobody")
}

// Contacts come and go with a group, and those of the user's own keep their names.
func TestContactsOfAGroup(t *testing.T) {
	s := begin(t)
	s.update(ContactsRead{[]protocol.Contact{{Address: address(t, "bob@example.com"), Name: "Bobby"}}})
	of := func(user, group string) {
		s.expect(s.update(ContactChanged{protocol.Contact{Address: address(t, user), Name: "From Directory", Group: group}}), "")
	}
	want := func(want string) {
		t.Helper()
		if got := fmt.Sprint(s.Contacts()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	of("bob@example.com", "Sales")
	of("anna@example.com", "Sales")
	want("[{anna@example.com From Directory Sales} {bob@example.com Bobby Sales}]")
	of("anna@example.com", "Ops")
	want("[{anna@example.com From Directory Ops} {bob@example.com Bobby Sales}]")
	of("anna@example.com", "")
	of("zoe@example.com", "")
	want("[{bob@example.com Bobby Sales}]")
}

func TestTellMeWhenTheyListen(t *testing.T) {
	s := begin(t)
	s.typed("/to bob")
	s.presence("bob@example.com", protocol.Deaf, "")
	s.expect(s.typed("/when"), "note: no message here was not delivered; /when IMA names somebody")
	s.typed("hi")
	s.outcome("m3", "bob@example.com", 480)
	s.expect(s.typed("/when"), "note: you will be told when bob@example.com is listening")
	s.expect(s.presence("bob@example.com", protocol.Busy, ""), "** bob@example.com is busy\nnotify bob@example.com: bob@example.com is listening now")
	s.presence("bob@example.com", protocol.Deaf, "")
	s.expect(s.presence("bob@example.com", protocol.Busy, ""), "** bob@example.com is busy") // once
	s.expect(s.typed("/when bob"), "note: bob@example.com is busy")
	s.expect(s.typed("/when carol"), "watch carol@example.com\nnote: you will be told when carol@example.com is listening")
}

func TestCommands(t *testing.T) {
	s := begin(t)
	done := func(r Request, err string) string { return s.update(Answered{Request: r, Err: err}) }
	bob := address(t, "bob@example.com")
	s.expect(s.typed("/add bob  Bob B. "), "add bob@example.comBob B.")
	s.expect(done(Request{Kind: AddContact, Address: bob, Name: "Bob B."}, ""), "watch bob@example.com\nnote: bob@example.com is a contact now")
	if s.Name(bob) != "Bob B." || len(s.Contacts()) != 1 {
		t.Errorf("contacts %v", s.Contacts())
	}
	s.expect(s.typed("/remove bob"), "remove bob@example.com")
	s.expect(done(Request{Kind: RemoveContact, Address: bob}, ""), "note: bob@example.com is no contact any more")
	s.expect(s.typed("/block bob"), "block bob@example.com")
	s.expect(done(Request{Kind: Block, Address: bob}, "too many rules"), "note: blocking bob@example.com failed: too many rules")
	s.expect(done(Request{Kind: Block, Address: bob}, ""), "note: bob@example.com can neither write to you nor see you any more; simp acl remove bob@example.com undoes it")
	s.expect(s.typed("/report bob"), "report bob@example.com")
	s.expect(done(Request{Kind: Report, Address: bob, Reason: protocol.ReportSpam}, ""), "note: bob@example.com is reported to the operators; /block bob@example.com keeps them from writing to you")
	s.expect(done(Request{Kind: Report, Address: bob}, "too many reports in a short time"), "note: reporting bob@example.com failed: too many reports in a short time")
	s.expect(s.typed("/report bob boredom"), "note: unknown reason boredom: it is spam, abuse or other")
	s.expect(s.typed("/report"), "note: an address is missing, such as bob@example.com")
	s.expect(s.typed("/state away gone fishing"), `state away listen=false note="gone fishing"`)
	note := "gone fishing"
	s.expect(done(Request{Kind: SetState, State: protocol.Away, Note: &note}, ""), "note: you are shown as away, gone fishing")
	s.expect(s.typed("/state busy"), `state busy listen=false note=""`)
	s.expect(s.typed("/state"), "note: you are shown as away, gone fishing")
	s.expect(s.typed("/state asleep"), `note: unknown state asleep: it is available, away or busy`)
	s.expect(s.update(Displaced{"elsewhere"}), "note: another session of yours is listening now, and this one no longer is; /state available listens again (elsewhere)")
	s.expect(s.typed("/state"), "note: you are shown as not listening")
	s.expect(s.typed("/state available"), `state available listen=true note=""`)
	s.expect(s.typed("/verify"), "note: choose one user first, with /to IMA")
	s.expect(s.typed("/reveal"), "note: no message here has a bad signature")
	s.expect(s.typed("/dance"), "note: unknown command /dance; /help lists the commands, and // sends a text that begins with /")
	s.expect(s.typed("/block"), "note: an address is missing, such as bob@example.com")
	s.expect(s.typed("/to a b"), "note: invalid address \"a b@example.com\": its local part has a character that must be quoted")
	if help := s.typed("/help"); strings.Count(help, "\n") != len(Commands())-1 || !strings.Contains(help, "/retry") {
		t.Errorf("help:\n%s", help)
	}
	if s.typed("/quit"); !s.Quitting() || s.Finished() {
		t.Error("/quit does not wait for requests")
	}
}

// Whatever somebody else writes, it is one message, and nothing of it reaches
// the terminal that the terminal would obey.
func TestHostileTexts(t *testing.T) {
	s := begin(t)
	for text, want := range map[string]string{
		"\x1b[2J\x1b]52;c;x\a\u009b31m":    `\x1b[2J\x1b]52;c;x\x07\x9b31m`,
		"\u202egnp.exe\u2066":              `\u202egnp.exe\u2066`,
		"a\u200bb\ufeffc\u00add":           `a\u200bb\ufeffc\xadd`,
		"\r-- delivered to bob":            `\r-- delivered to bob`,
		"x\r\n-- delivered to bob: forged": "x\n    -- delivered to bob: forged",
		"\u2028\u2029\x00":                 `\u2028\u2029\x00`,
		strings.Repeat("x", 64<<10):        strings.Repeat("x", 64<<10),
	} {
		got := s.update(Arrived{From: address(t, "mallory@example.net"), At: noon, Text: text})
		got, _, _ = strings.Cut(got, "\nnotify ")
		s.expect(got, "12:00 <mallory@example.net> "+want)
	}
}

func TestOldEntriesAreDropped(t *testing.T) {
	s := &story{t: t, Model: New(Config{Me: address(t, "alice@example.com"), Keep: 3}), now: noon}
	s.typed("/to bob")
	for i := range 10 {
		s.typed(fmt.Sprint(i))
	}
	if all := s.Current().Entries; len(all) != 3 || all[0].Text != "7" {
		t.Errorf("%d entries", len(all))
	}
	s.expect(s.outcome("m2", "bob@example.com", 200), "-- delivered to bob@example.com: 0")
	big := strings.Repeat("x", maxOctets/2)
	for range 4 {
		s.Update(Arrived{From: address(t, "bob@example.com"), At: noon, Text: big})
	}
	if c := s.Current(); c.octets > maxOctets || len(c.Entries) != 2 {
		t.Errorf("%d octets are kept in %d entries", c.octets, len(c.Entries))
	}
}

// The keys of the other in a conversation are shown, one is marked, and the
// text of a message with a bad signature is shown on request.
func TestSignatures(t *testing.T) {
	m := New(Config{Me: protocol.CanonicalAddress("alice@example.com")})
	bob := protocol.CanonicalAddress("bob@example.com")
	m.Open(&Conversation{To: []protocol.Address{bob}})
	typed := func(text string) []Effect { return m.Update(Typed{Text: text, ID: "x", At: time.Unix(0, 0)}) }
	for text, name := range map[string]string{"/verify": "", "/verify k3v8-0q2m-w7za-91td-6xpe": "k3v8-0q2m-w7za-91td-6xpe"} {
		r := Request{Kind: Verify, Address: bob, Name: name}
		if got := typed(text); len(got) != 1 || got[0] != Effect(r) {
			t.Errorf("%s: %+v", text, got)
		}
		if got := m.Update(Answered{Request: r, Lines: []string{"one", "two"}}); len(got) != 2 || got[0] != Effect(Note{"one"}) {
			t.Errorf("the answer to %s: %+v", text, got)
		}
	}
	m.Update(Arrived{From: bob, Text: "[not shown: why]", Hidden: "evil", Signature: "bad signature"})
	if e := m.Current().Entries; e[len(e)-1].Signature != "bad signature" || e[len(e)-1].Text != "[not shown: why]" {
		t.Errorf("kept: %+v", e[len(e)-1])
	}
	if got := typed("/reveal"); len(got) != 1 || got[0] != Effect(Note{"somebody who is not known to be bob@example.com wrote: evil"}) {
		t.Errorf("revealed: %+v", got)
	}
}
