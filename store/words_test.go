package store_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"strconv"
	"strings"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol/signature"
	"simpd/store"
)

// words is a line of a story: a verb, arguments, and key=value.
type words struct {
	verb string
	args []string
	keys map[string]string
}

func parseWords(line string) words {
	fields := strings.Fields(line)
	w := words{verb: fields[0], keys: map[string]string{}}
	for _, f := range fields[1:] {
		if key, value, ok := strings.Cut(f, "="); ok {
			w.keys[key] = value
		} else {
			w.args = append(w.args, f)
		}
	}
	return w
}

func (w words) arg(i int) string {
	if i < len(w.args) {
		return w.args[i]
	}
	return ""
}

func (w words) number(key string) uint64 {
	n, _ := strconv.ParseUint(w.keys[key], 10, 64)
	return n
}

// note is what note= says; nil if it is not there.
func (w words) note() *string {
	if note, ok := w.keys["note"]; ok {
		return &note
	}
	return nil
}

// session is the one named by the second argument, epoch its own unless the
// line says otherwise.
func (w words) session() (s *storev1.Session, epoch uint64) {
	named, err := store.ParseSession(w.arg(1))
	if err != nil {
		return nil, w.number("epoch")
	}
	if epoch = named.Epoch; w.keys["epoch"] != "" {
		epoch = w.number("epoch")
	}
	return &storev1.Session{Node: named.Node, Epoch: named.Epoch, Number: named.Number}, epoch
}

// change is the change that the line asks for; nil if it is none.
func (w words) change() *storev1.Change {
	session, epoch := w.session()
	switch w.verb {
	case "listen":
		return w.listen(session, epoch)
	case "state":
		return &storev1.Change{Kind: &storev1.Change_SetState{SetState: &storev1.SetState{
			Address: w.arg(0), Session: session, Epoch: epoch, State: state(w.arg(2)), Note: w.note(),
		}}}
	case "release":
		return &storev1.Change{Kind: &storev1.Change_Release{Release: &storev1.Release{Address: w.arg(0), Session: session, Epoch: epoch}}}
	case "rule":
		return &storev1.Change{Kind: &storev1.Change_SetRule{SetRule: &storev1.SetRule{
			Owner: w.arg(0), Pattern: w.arg(1), Message: permission(w.keys["message"]), Presence: permission(w.keys["presence"]),
			Written: w.keys["written"],
		}}}
	case "contact":
		return &storev1.Change{Kind: &storev1.Change_SetContact{SetContact: &storev1.SetContact{
			Owner: w.arg(0), Address: w.arg(1), Name: w.keys["name"], Remove: w.arg(2) == "remove",
		}}}
	}
	if c := w.accountChange(); c != nil {
		return c
	}
	return w.siteChange()
}

func (w words) listen(session *storev1.Session, epoch uint64) *storev1.Change {
	b := &storev1.Bind{
		Address: w.arg(0), Session: session, Epoch: epoch, State: storev1.State_STATE_AVAILABLE, Note: w.keys["note"],
		Exclusive: w.arg(2) == "exclusive", Rebind: w.number("rebind"), Credential: 1 << 60, AppPassword: w.number("app"),
	}
	if w.keys["state"] != "" {
		b.State = state(w.keys["state"])
	}
	if w.keys["credential"] != "" {
		b.Credential = w.number("credential")
	}
	return &storev1.Change{Kind: &storev1.Change_Bind{Bind: b}}
}

func (w words) accountChange() *storev1.Change {
	switch w.verb {
	case "account":
		p := &storev1.PutAccount{
			Address: w.arg(0), Verifier: verifier(w.keys["password"]), Mode: storev1.PutAccount_MODE_CREATE, IfCredential: w.number("if"),
			DropAppPasswords: w.keys["apps"] == "drop",
		}
		if salt, ok := w.keys["salt"]; ok {
			p.Verifier.Salt = verifier(salt).Salt
		}
		if mode, ok := storev1.PutAccount_Mode_value["MODE_"+strings.ToUpper(w.keys["mode"])]; ok {
			p.Mode = storev1.PutAccount_Mode(mode)
		}
		if keep, err := store.ParseSession(w.keys["keep"]); err == nil {
			p.Keep = &storev1.Session{Node: keep.Node, Epoch: keep.Epoch, Number: keep.Number}
		}
		return &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: p}}
	case "app":
		v := verifier(w.keys["password"])
		v.Salt = verifier(w.keys["salt"]).Salt
		return &storev1.Change{Kind: &storev1.Change_AddAppPassword{AddAppPassword: &storev1.AddAppPassword{
			Address: w.arg(0), Name: w.keys["name"], Verifier: v, UntilMs: int64(w.number("until")), IfCredential: w.number("if"),
		}}}
	case "unapp":
		return &storev1.Change{Kind: &storev1.Change_RemoveAppPassword{RemoveAppPassword: &storev1.RemoveAppPassword{Address: w.arg(0), Id: w.number("id")}}}
	case "used":
		return &storev1.Change{Kind: &storev1.Change_MarkAppPasswordUsed{MarkAppPasswordUsed: &storev1.MarkAppPasswordUsed{
			Address: w.arg(0), Id: w.number("id"), Day: uint32(w.number("day")),
		}}}
	case "key":
		return w.addKey()
	case "revoke":
		return &storev1.Change{Kind: &storev1.Change_RevokeKey{RevokeKey: &storev1.RevokeKey{
			Address: w.arg(0), KeyId: signature.KeyID(deviceKey(w.number("seed")).Public().(ed25519.PublicKey)), ByOperator: w.arg(1) == "operator",
			IfCredential: w.number("if"),
		}}}
	case "register":
		return &storev1.Change{Kind: &storev1.Change_RegisterAccount{RegisterAccount: &storev1.RegisterAccount{
			Address: w.arg(0), Source: w.arg(1), Verifier: verifier(w.keys["password"]), IfGeneration: w.number("if"),
		}}}
	case "leave":
		return &storev1.Change{Kind: &storev1.Change_LeaveSource{LeaveSource: &storev1.LeaveSource{Address: w.arg(0), Source: w.arg(1)}}}
	case "invite":
		return &storev1.Change{Kind: &storev1.Change_AddInvitation{AddInvitation: &storev1.AddInvitation{
			CodeHash: fingerprint(w.keys["code"]), Domain: w.keys["domain"], Uses: uint32(w.number("uses")),
			UntilMs: int64(w.number("until")), Contact: w.keys["contact"], By: w.keys["by"],
		}}}
	case "join":
		return &storev1.Change{Kind: &storev1.Change_UseInvitation{UseInvitation: &storev1.UseInvitation{
			CodeHash: fingerprint(w.keys["code"]), Address: w.arg(0), Verifier: verifier(w.keys["password"]),
		}}}
	case "uninvite":
		return &storev1.Change{Kind: &storev1.Change_RemoveInvitation{RemoveInvitation: &storev1.RemoveInvitation{Id: w.number("id")}}}
	case "group", "ungroup":
		return w.groupChange()
	case "delete":
		return &storev1.Change{Kind: &storev1.Change_DeleteAccount{DeleteAccount: &storev1.DeleteAccount{Address: w.arg(0)}}}
	case "disable", "enable":
		return &storev1.Change{Kind: &storev1.Change_SetDisabled{SetDisabled: &storev1.SetDisabled{Address: w.arg(0), Disabled: w.verb == "disable"}}}
	case "restore":
		r := &storev1.RestoreAccounts{First: w.keys["piece"] == "first", Last: w.keys["piece"] == "last"}
		for _, a := range w.args {
			r.Record = append(r.Record, &storev1.Record{Kind: &storev1.Record_Account{Account: &storev1.Account{Address: a, Verifier: verifier("restored"), Credential: 3}}})
		}
		return &storev1.Change{Kind: &storev1.Change_RestoreAccounts{RestoreAccounts: r}}
	}
	return nil
}

// addKey adds the key of a device; by is the device that proves continuity.
func (w words) addKey() *storev1.Change {
	public := deviceKey(w.number("seed")).Public().(ed25519.PublicKey)
	add := &storev1.AddKey{Address: w.arg(0), Key: public, Name: w.keys["name"], IfCredential: w.number("if")}
	if seed := w.number("by"); seed > 0 {
		by := deviceKey(seed)
		add.By = signature.KeyID(by.Public().(ed25519.PublicKey))
		add.Proof = signature.ProveContinuity(by, add.Address, public, add.Name)
		if w.keys["proof"] == "wrong" {
			add.Proof[0] ^= 1
		}
	}
	return &storev1.Change{Kind: &storev1.Change_AddKey{AddKey: add}}
}

// deviceKey makes a private key that is the same in each run.
func deviceKey(seed uint64) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(seed)}, ed25519.SeedSize))
}

func (w words) siteChange() *storev1.Change {
	switch w.verb {
	case "seal":
		return &storev1.Change{Kind: &storev1.Change_PutSealedValue{PutSealedValue: &storev1.PutSealedValue{
			Value: &storev1.SealedValue{Name: w.arg(0), Sealed: []byte(w.keys["of"]), UntilMs: int64(w.number("until"))},
		}}}
	case "unseal":
		return &storev1.Change{Kind: &storev1.Change_RemoveSealedValue{RemoveSealedValue: &storev1.RemoveSealedValue{Name: w.arg(0)}}}
	case "up":
		c := up(w.arg(0), w.number("boot"))
		c.GetNodeUp().Replaces = w.number("replaces")
		if w.keys["reads"] != "" {
			c.GetNodeUp().MinSchema, c.GetNodeUp().MaxSchema = uint32(w.number("reads")), uint32(w.number("reads"))
		}
		return c
	case "down":
		return ended(w.arg(0), w.number("epoch"))
	case "drain":
		return &storev1.Change{Kind: &storev1.Change_SetDraining{SetDraining: &storev1.SetDraining{Node: w.arg(0), Epoch: w.number("epoch"), Draining: w.arg(1) != "off"}}}
	case "remove":
		return &storev1.Change{Kind: &storev1.Change_RemoveNode{RemoveNode: &storev1.RemoveNode{Node: w.arg(0)}}}
	case "certificate":
		return &storev1.Change{Kind: &storev1.Change_AddCertificate{AddCertificate: &storev1.AddCertificate{Node: w.arg(0), Fingerprint: fingerprint(w.keys["of"])}}}
	case "exclude":
		return &storev1.Change{Kind: &storev1.Change_ExcludeNode{ExcludeNode: &storev1.ExcludeNode{Node: w.arg(0), Fingerprint: [][]byte{fingerprint(w.keys["of"])}}}}
	case "admit":
		return &storev1.Change{Kind: &storev1.Change_AdmitNode{AdmitNode: &storev1.AdmitNode{Node: w.arg(0)}}}
	case "reap":
		return reap(w.arg(0), uint32(w.number("limit")))
	case "schema":
		return &storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: uint32(w.number("to"))}}}
	case "history":
		return &storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{
			History: w.arg(0), Secret: []byte("secret of " + w.arg(0)), Index: w.number("index"), KeepBindings: w.arg(1) == "keep",
		}}}
	case "block", "unblock", "feed", "endblocks":
		return w.blockChange()
	case "use-link":
		return &storev1.Change{Kind: &storev1.Change_UseConsoleToken{UseConsoleToken: &storev1.UseConsoleToken{
			Id: fingerprint(w.arg(0))[:16], UntilMs: int64(w.number("until")), Generation: w.number("generation"),
		}}}
	case "revoke-console":
		return &storev1.Change{Kind: &storev1.Change_RevokeConsole{RevokeConsole: &storev1.RevokeConsole{
			Generation: w.number("generation"), Secret: w.revocationSecret(),
		}}}
	case "report", "resolve", "passedon", "dropreports":
		return w.reportChange()
	case "digest":
		return &storev1.Change{Kind: &storev1.Change_Digest{Digest: &storev1.Digest{Number: w.number("number")}}}
	}
	return nil
}

// revocationSecret is 32 octets made from what secret= says; none if that is
// "none".
func (w words) revocationSecret() []byte {
	if w.keys["secret"] == "none" {
		return nil
	}
	return fingerprint("secret " + w.keys["secret"])
}

// groupChange makes or removes a contact group. Members are addresses, with names
// after a slash.
func (w words) groupChange() *storev1.Change {
	if w.verb == "ungroup" {
		return &storev1.Change{Kind: &storev1.Change_RemoveContactGroup{RemoveContactGroup: &storev1.RemoveContactGroup{Source: w.arg(0), Key: w.arg(1)}}}
	}
	g := &storev1.ContactGroup{Source: w.arg(0), Key: w.arg(1), Name: w.keys["name"]}
	for _, m := range w.args[min(2, len(w.args)):] {
		address, name, _ := strings.Cut(m, "/")
		g.Member = append(g.Member, &storev1.GroupMember{Address: address, Name: name})
	}
	return &storev1.Change{Kind: &storev1.Change_PutContactGroup{PutContactGroup: &storev1.PutContactGroup{Group: g}}}
}

// fingerprint is what stands for that certificate in stories.
func fingerprint(of string) []byte {
	sum := sha256.Sum256([]byte(of))
	return sum[:]
}

func state(s string) storev1.State {
	return storev1.State(storev1.State_value["STATE_"+strings.ToUpper(s)])
}

func permission(s string) storev1.Permission {
	return storev1.Permission(storev1.Permission_value["PERMISSION_"+strings.ToUpper(s)])
}

func (w words) blockChange() *storev1.Change {
	entry := func(target string) *storev1.BlockEntry {
		return &storev1.BlockEntry{Target: target, Written: w.keys["written"], Reason: w.keys["reason"], UntilMs: int64(w.number("until"))}
	}
	switch w.verb {
	case "block":
		return &storev1.Change{Kind: &storev1.Change_AddBlock{AddBlock: &storev1.AddBlock{Block: entry(w.arg(0)), By: w.keys["by"]}}}
	case "unblock":
		return &storev1.Change{Kind: &storev1.Change_RemoveBlock{RemoveBlock: &storev1.RemoveBlock{Target: w.arg(0)}}}
	case "feed":
		c := &storev1.ChangeFeed{Feed: w.arg(0), Drop: w.arg(1) == "drop", Remove: splitWords(w.keys["remove"])}
		for _, target := range splitWords(w.keys["add"]) {
			c.Add = append(c.Add, entry(target))
		}
		return &storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: c}}
	}
	return &storev1.Change{Kind: &storev1.Change_EndBlocks{EndBlocks: &storev1.EndBlocks{UntilMs: int64(w.number("until"))}}}
}

func splitWords(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

func (w words) reportChange() *storev1.Change {
	id, _ := strconv.ParseUint(w.arg(0), 10, 64)
	switch w.verb {
	case "report":
		return &storev1.Change{Kind: &storev1.Change_AddReport{AddReport: &storev1.AddReport{Report: &storev1.Report{
			Reporter: w.arg(0), Reported: w.keys["about"], Reason: uint32(w.number("reason")), Text: w.keys["text"], Via: w.keys["via"],
			Entity: []byte(w.keys["entity"]), Signature: uint32(w.number("signature")),
		}}}}
	case "resolve":
		return &storev1.Change{Kind: &storev1.Change_ResolveReport{ResolveReport: &storev1.ResolveReport{Id: id, By: w.keys["by"], Resolution: w.keys["text"]}}}
	case "passedon":
		return &storev1.Change{Kind: &storev1.Change_MarkReportPassedOn{MarkReportPassedOn: &storev1.MarkReportPassedOn{Id: id, Status: uint32(w.number("status"))}}}
	}
	return &storev1.Change{Kind: &storev1.Change_DropReports{DropReports: &storev1.DropReports{BeforeMs: int64(w.number("before"))}}}
}
