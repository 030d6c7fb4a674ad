package machines

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const trouble = "../../../docs/operators/trouble.md"

// What the table says that the unit does.
const (
	startsAgain = "starts it again after 2 s, however often"
	staysDown   = "leaves it stopped"
	worksOn     = "nothing: it works on"
)

// means are the ways to bring about what the rows of the table name as causes.
// $pid is the process of a node that is ready.
var means = map[string][]string{
	"SIGTERM or SIGINT (^C), and all clients have moved": {"kill -TERM $pid", "kill -INT $pid", "systemctl stop simpd"},
	"a second SIGTERM or SIGINT, before that": {
		// Both are there when it looks.
		"kill -STOP $pid; kill -TERM $pid; kill -INT $pid; kill -CONT $pid",
	},
	"any other failure, such as an address in use, a full disk, or no descriptors or memory for reading a file": {
		`systemctl stop simpd; systemd-run --unit=squatter systemd-socket-activate -l 127.0.0.1:7467 /bin/true; 
		until ss -ltn | grep -q 127.0.0.1:7467; do sleep 0.1; done; systemctl start --no-block simpd`,
		"systemctl stop simpd; mount -t tmpfs -o size=16k,mode=700,uid=simpd,gid=simpd full /var/lib/simpd; systemctl start --no-block simpd",
	},
	"SIGSEGV, SIGABRT or SIGQUIT": {"kill -SEGV $pid", "kill -ABRT $pid", "kill -QUIT $pid"},
	"SIGBUS, SIGFPE, SIGILL, SIGSYS or SIGTRAP": {
		"kill -BUS $pid", "kill -FPE $pid", "kill -ILL $pid", "kill -SYS $pid", "kill -TRAP $pid",
	},
	"a panic, which is a fault in the program; the log has the stack": {
		"cp --remove-destination /root/faulty /usr/bin/simpd; systemctl restart simpd; pid=$(systemctl show -P MainPID simpd); kill -USR2 $pid",
	},
	"the command line is wrong: an unknown command or flag, a value that can't be read": {
		start("serve --nod-id=n1"), start("sevre"), start("serve --config /etc/simpd/simpd.yaml --timing=sideways"),
	},
	"the configuration is wrong, or a file that it names": {
		"echo 'node_idd: n1' >>/etc/simpd/simpd.yaml; systemctl restart --no-block simpd",
		"echo 'token_file: /etc/simpd/none' >>/etc/simpd/simpd.yaml; systemctl restart --no-block simpd",
	},
	"the data folder is damaged, another node's, another user's, or open to others": {
		"systemctl stop simpd; chown root: /var/lib/simpd/raft.db; systemctl start --no-block simpd",
		"systemctl stop simpd; chmod go+r /var/lib/simpd/raft.db; systemctl start --no-block simpd",
		"systemctl stop simpd; truncate -s 0 /var/lib/simpd/raft.db; systemctl start --no-block simpd",
		"sed -i s/n1/n2/ /etc/simpd/simpd.yaml; systemctl restart --no-block simpd",
	},
	"SIGKILL, such as by the kernel when memory was short": {"kill -KILL $pid"},
	"SIGKILL by systemd: it has not ended 90 s after `systemctl stop`": {
		`[ "$(systemctl show -P TimeoutStopUSec simpd)" = "1min 30s" ]
		mkdir -p /run/systemd/system/simpd.service.d; printf '[Service]\nTimeoutStopSec=2\n' >/run/systemd/system/simpd.service.d/try.conf
		cp --remove-destination /root/faulty /usr/bin/simpd; systemctl daemon-reload; systemctl restart simpd
		kill -USR1 $(systemctl show -P MainPID simpd)
		until journalctl -u simpd | grep -q 'told to ignore SIGTERM'; do sleep 0.1; done; systemctl stop simpd`,
	},
	"SIGHUP: it reads its files again": {"kill -HUP $pid", "systemctl reload simpd"},
	"SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM and the like": {
		"kill -USR1 $pid; kill -USR2 $pid; kill -PIPE $pid; kill -ALRM $pid; kill -VTALRM $pid; kill -WINCH $pid; kill -XFSZ $pid; kill -XCPU $pid; kill -RTMIN+3 $pid",
	},
}

// start is the way to start simpd otherwise.
func start(args string) string {
	return `mkdir -p /run/systemd/system/simpd.service.d
	printf '[Service]\nExecStart=\nExecStart=/usr/bin/simpd ` + args + `\n' >/run/systemd/system/simpd.service.d/try.conf
	systemctl daemon-reload; systemctl restart --no-block simpd`
}

// end is a row of the table.
type end struct{ status, cause, consequence string }

// TestEnds ends a node in each way that the handbook's table of exit statuses
// names, and looks at what the unit then does.
func TestEnds(t *testing.T) {
	m := machineToEnd(t)
	known := map[string]bool{}
	for _, row := range readEnds(t) {
		known[row.cause] = true
		if means[row.cause] == nil {
			t.Errorf("no way is known to bring about %q", row.cause)
		}
		for i, way := range means[row.cause] {
			t.Run(fmt.Sprintf("%s_%s_%d", row.status, row.cause, i), func(t *testing.T) { m.in(t).tryEnd(row, way) })
		}
	}
	for cause := range means {
		if !known[cause] {
			t.Errorf("%s has no row about %q", trouble, cause)
		}
	}
}

// machineToEnd boots a machine on which begin starts a node.
func machineToEnd(t *testing.T) *machine {
	t.Helper()
	shared := pack(t)
	shared[buildFaulty(t)] = "/root/faulty"
	m := boot(t, "n1", "", shared)
	m.install()
	m.do("cp -a /usr/bin/simpd /etc/simpd/simpd.yaml /root")
	if interval := m.show("RestartUSec"); interval != "2s" {
		t.Errorf("systemd starts a node again after %s; the table has 2 s", interval)
	}
	return m
}

// readEnds reads the table.
func readEnds(t *testing.T) (rows []end) {
	t.Helper()
	b, err := os.ReadFile(trouble)
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "\n| status | cause | what the unit of systemd does |\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 3 {
			break
		}
		if !strings.HasPrefix(line, "| ---") {
			rows = append(rows, end{strings.TrimPrefix(cells[0], "| "), cells[1], strings.TrimSuffix(cells[2], " |")})
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table of exit statuses", trouble)
	}
	return rows
}

// buildFaulty makes a simpd that panics at SIGUSR2, and ignores SIGTERM from
// SIGUSR1 on.
func buildFaulty(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	here, err := filepath.Abs("testdata/faulty.go")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Abs(made(t, sourcesVariable))
	if err != nil {
		t.Fatal(err)
	}
	overlay, _ := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(sources, "cmd/simpd/faulty.go"): here}})
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "simpd")
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./cmd/simpd")
	cmd.Dir = sources
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := said(cmd); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// tryEnd ends a node in one way, and compares what happens with the row.
func (m *machine) tryEnd(row end, way string) {
	m.begin()
	pid := m.show("MainPID")
	m.do("pid=" + pid + "\n" + way)
	enough := 1
	if row.consequence == startsAgain && !strings.Contains(way, "$pid") {
		enough = 7 // what is wrong stays wrong, and systemd's own limit is 5 starts
	}
	var got string
	m.await("systemd restarts the node, or leaves it stopped", func() bool {
		got = m.consequence(pid, enough, row.consequence == worksOn)
		return got != ""
	})
	if got != row.consequence {
		m.Errorf("%s\nsystemd: %s; the table has: %s", way, got, row.consequence)
	}
	if got := m.status(); got != row.status {
		m.Errorf("%s\nthe exit status is %s; the table has %s", way, got, row.status)
	}
}

// begin has a node run as if nothing had happened before.
func (m *machine) begin() {
	m.Helper()
	m.do(`systemctl stop simpd squatter || true
	umount /var/lib/simpd || true
	rm -rf /var/lib/simpd/* /run/systemd/system/simpd.service.d
	cp --remove-destination /root/simpd /usr/bin/simpd
	cp /root/simpd.yaml /etc/simpd/simpd.yaml
	systemctl daemon-reload
	systemctl reset-failed
	systemctl start simpd
	journalctl --cursor-file=/run/cursor -u simpd >/dev/null`)
	m.await("it is ready", m.isReady)
}

func (m *machine) isReady() bool {
	_, err := m.try("curl -fsS http://127.0.0.1:7480/readyz")
	return err == nil
}

// consequence is what systemd has done, or "" while that is not known.
func (m *machine) consequence(pid string, enough int, works bool) string {
	restarts, _ := strconv.Atoi(m.show("NRestarts"))
	state := m.show("ActiveState")
	switch {
	case restarts >= enough:
		return startsAgain
	case (state == "failed" || state == "inactive") && strings.Contains(m.do("systemctl list-jobs"), "No jobs"):
		return staysDown
	case works && m.isReady() && m.show("MainPID") == pid:
		return worksOn
	}
	return ""
}

// show returns a property of the unit.
func (m *machine) show(property string) string {
	m.Helper()
	return strings.TrimSpace(m.do("systemctl show -P " + property + " simpd"))
}

var exited = regexp.MustCompile(`Main process exited, code=(\w+), status=(\d+)`)

// status is what the first process since begin has ended with, as a shell sees
// it. Systemd does not speak of a process that ends with 0.
func (m *machine) status() string {
	m.Helper()
	found := exited.FindStringSubmatch(m.do("journalctl --sync; journalctl --cursor-file=/run/cursor -u simpd -o cat"))
	switch {
	case found == nil && m.show("ActiveState") == "active":
		return "none"
	case found == nil:
		return "0"
	case found[1] == "exited":
		return found[2]
	}
	signal, _ := strconv.Atoi(found[2])
	return strconv.Itoa(128 + signal)
}
