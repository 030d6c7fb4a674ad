package main

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"simpd/cmd/testkit/site"
)

// A node fetches a list from a real server and blocks what it lists; operators
// read what is wrong; and without the setting the blocks are dropped.
func TestABlockFeedIsFetchedAndDropped(t *testing.T) {
	var list atomic.Pointer[string]
	first := "@spam.example sends spam\n192.0.2.0/24\n@example.com\n"
	list.Store(&first)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, *list.Load()) }))
	t.Cleanup(server.Close)
	pin := sha256.Sum256(server.Certificate().RawSubjectPublicKeyInfo)
	feed := "spam=" + server.URL + "/list.txt#pin=" + base64.StdEncoding.EncodeToString(pin[:])

	keys, dir := makeKeys(t, "n1"), t.TempDir()
	startNode := func(more ...string) *testNode {
		args := append([]string{"serve", "--gossip-listen=" + site.FreeAddress()}, secureArgs(dir, keys, "n1", 1)...)
		n := &testNode{process: start(t, "simpd", append(args, more...)...), id: "n1"}
		n.await(n.err, "msg=ready")
		return n
	}
	n := startNode("--block-feed=" + feed)
	n.await(n.err, `msg="block feed updated" feed=spam entries=2 left_out=1`)
	read := func(args ...string) string {
		_, said := runTo(t, "", "simpctl", n.operator(keys, args...)...)
		return said
	}
	if said := read("doctor"); !strings.Contains(said, "line 3: @example.com is a domain of this site") {
		t.Errorf("doctor: %s", said)
	}
	_, metrics := n.get("/metrics")
	for _, line := range []string{`simp_block_feed_entries{feed="spam"} 2`, `simp_block_feed_fetches_total{feed="spam",result="fetched"} 1`, `simp_block_feed_last_success_timestamp_seconds{feed="spam"} 1`} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	n.signal(syscall.SIGTERM)
	n.exit()

	bad := "@spam.example\nnonsense\n"
	list.Store(&bad)
	n = startNode("--block-feed=" + feed)
	n.await(n.err, `msg="block feed not updated" feed=spam error="line 2: invalid target nonsense`)
	if said := read("doctor"); !strings.Contains(said, "the block feed spam could not be updated") {
		t.Errorf("doctor: %s", said)
	}
	n.signal(syscall.SIGTERM)
	n.exit()

	n = startNode()
	n.await(n.err, `msg="blocks of a removed feed dropped" feed=spam`)
}

func TestBlockFeedSetting(t *testing.T) {
	const pin = "#pin=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	base := []string{"--node-id=n1", "--domain=a.example", "--insecure", "--data-dir=" + t.TempDir(), "--bootstrap-expect=1"}
	file := write(t, "simpd.yaml", "block_feed:\n  - a=https://lists.example/a.txt"+pin+"&interval=10m\n  - b=https://lists.example/b.txt"+pin+"\n", 0o600)
	c, wrong := loadWith(t, file, nil, base...)
	if len(wrong) > 0 || len(c.blockFeeds) != 2 || c.blockFeeds[0].Interval.Minutes() != 10 || c.blockFeeds[1].URL != "https://lists.example/b.txt" {
		t.Fatalf("%+v, %v", c.blockFeeds, wrong)
	}
	n := &node{conf: c}
	if s := n.blockFeedSetting(); len(s.values) != 2 || strings.Contains(s.shown, "AAAA") {
		t.Errorf("nodes compare %+v", s)
	}
	for value, want := range map[string]string{
		"a=https://lists.example/": "neither a key nor a pin",
		"a=http://lists.example/":  "invalid URL",
	} {
		if _, wrong := loadWith(t, "", nil, append(base, "--block-feed="+value)...); len(wrong) != 1 || !strings.Contains(wrong[0].text, want) {
			t.Errorf("%s: %v", value, wrong)
		}
	}
	if _, wrong := loadWith(t, "", nil, append(base, "--block-feed=a=https://x.example/"+pin, "--block-feed=a=https://y.example/"+pin)...); len(wrong) != 1 || !strings.Contains(wrong[0].text, "the feed a is there twice") {
		t.Errorf("twice: %v", wrong)
	}
}
