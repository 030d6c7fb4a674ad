package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
)

// feedServer serves a signed list, and returns its URL, its pin and its key.
func feedServer(t *testing.T, list string) (url, pin, key string) {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/list.txt.sig" {
			io.WriteString(w, base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(list))))
			return
		}
		io.WriteString(w, list)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	sum := sha256.Sum256(server.Certificate().RawSubjectPublicKeyInfo)
	return server.URL + "/list.txt", base64.StdEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
}

// feedSite is a site that a feed "spam" blocks something on already, and where
// alice, bob and carol listen at 192.0.2.1.
func feedSite(t *testing.T) *testSite {
	s := newSite(t)
	s.goOn()
	s.propose(&storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: &storev1.ChangeFeed{Feed: "spam", Add: []*storev1.BlockEntry{
		{Target: "@gone.example"}, {Target: "@changed.example", Reason: "old"}, {Target: "spam@same.example", Written: "Spam@same.example"},
	}}}})
	for i, user := range []string{"alice@example.com", "bob@example.com"} {
		s.ok("secret\n", "account", "add", user, "--password-stdin")
		s.listen(user, uint64(i+1))
	}
	return s
}

const feedList = "@changed.example new\nSpam@same.example\n@spam.example\nAlice@example.com\nnobody@example.com\n198.51.100.0/24\n@example.com\n"

func TestFeedCheck(t *testing.T) {
	s := feedSite(t)
	url, pin, key := feedServer(t, feedList)
	version := s.table.BlocksVersion()
	got := s.ok("", "block", "feed", "check", "spam="+url+"#key="+key+"&pin="+pin)
	want := url + ": verified; 6 entries: 3 addresses, 2 domains, 1 ranges\n" +
		"compared with the blocks of the feed spam: 4 new, 1 changed, 1 gone\n" +
		"left out: line 7: @example.com is a domain of this site\n" +
		"accounts of the site that it names: 1\n" +
		"  alice@example.com\n" +
		"listening sessions that it would block: 1\n" +
		"  alice@example.com "
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " on n1 from 192.0.2.1:5000\n") {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if s.table.BlocksVersion() != version {
		t.Error("the check changed blocks")
	}
	url, pin, _ = feedServer(t, "192.0.2.0/28\n")
	var report feedReport
	if err := json.Unmarshal([]byte(s.ok("", "block", "feed", "check", url, "--pin", pin, "--output", "json")), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Sessions) != 2 || report.Sessions[1].IMA != "bob@example.com" || report.Ranges != 1 || report.Compared != "" || len(report.Accounts) != 0 {
		t.Errorf("got %+v", report)
	}
}

func TestFeedCheckRefusesWhatANodeWould(t *testing.T) {
	s := feedSite(t)
	url, pin, key := feedServer(t, feedList)
	badURL, badPin, _ := feedServer(t, "@a.example\nnonsense\n")
	otherKey := base64.StdEncoding.EncodeToString(make([]byte, ed25519.PublicKeySize))
	for args, want := range map[string]string{
		url + " --pin " + otherKey:                   "its pin is " + pin,
		url + " --key " + key:                        "certificate",
		url + " --key " + otherKey + " --pin " + pin: "the signature is not the key's",
		badURL + " --pin " + badPin:                  "line 2: invalid target nonsense",
	} {
		if r := s.do("", append([]string{"block", "feed", "check"}, strings.Fields(args)...)...); r.code != 1 || !strings.Contains(r.err, want) || r.out != "" {
			t.Errorf("%s: %+v", args, r)
		}
	}
	for args, want := range map[string]string{
		url: "neither a key nor a pin", url + " --pin x": "invalid pin", "spam": "must be NAME=URL", "": "NAME=URL#key=BASE64, or a URL",
		"spam=" + url + " --pin " + pin: "are for a URL", url + " --name Spam --pin " + pin: "must be NAME=URL",
	} {
		if r := s.do("", append([]string{"block", "feed", "check"}, strings.Fields(args)...)...); r.code != 2 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}
