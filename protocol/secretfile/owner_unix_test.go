//go:build unix

package secretfile

import "testing"

func TestRemedy(t *testing.T) {
	const want = ": it belongs to root (mode 0600), and this program runs as simpd: chown simpd /etc/simpd/node.key"
	if said := remedyFor("/etc/simpd/node.key", 0o600, "root", "simpd"); said != want {
		t.Errorf("remedyFor says %q", said)
	}
}
