package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test's own executable be the program.
func TestMain(m *testing.M) {
	if os.Getenv("SIMP_TEST_RUN_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

// program prepares a run of the program, which the test kills after a while.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, args...)
	c.Env = append(os.Environ(), "SIMP_TEST_RUN_PROGRAM=1", "XDG_CONFIG_HOME="+t.TempDir(), "SIMP_SERVER=127.0.0.1:1", "SIMP_PLAINTEXT=true", "SIMP_USER=alice@example.com")
	c.WaitDelay = 10 * time.Second
	return c
}

// openTerminal returns both ends of a new pseudo-terminal.
func openTerminal(t *testing.T) (outer, inner *os.File) {
	t.Helper()
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = outer.Close() })
	if err := unix.IoctlSetPointerInt(int(outer.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(outer.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inner, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	return outer, inner
}

func isEchoing(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func TestAnInterruptEndsThePasswordPrompt(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		outer, inner := openTerminal(t)
		c := program(t, "query", "bob@example.com")
		c.Stdin, c.Stdout, c.Stderr = inner, inner, inner
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		shown := readUntil(t, outer, "Password for alice@example.com: ")
		for isEchoing(t, inner) { // the prompt is shown just before the echo ends
			runtime.Gosched()
		}
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // the exit code tells
		if code := c.ProcessState.ExitCode(); code != 1 {
			t.Errorf("%v: exit code %d after %q", signal, code, shown)
		}
		if !isEchoing(t, inner) {
			t.Errorf("%v: the terminal does not show what is typed any more", signal)
		}
	}
}

func readUntil(t *testing.T, f *os.File, text string) string {
	t.Helper()
	var all []byte
	for !bytes.Contains(all, []byte(text)) {
		b := make([]byte, 256)
		n, err := f.Read(b)
		if all = append(all, b[:n]...); err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
	}
	return string(all)
}

func TestAnInterruptEndsReadingStandardInput(t *testing.T) {
	in, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	defer in.Close()
	c := program(t, "--password-file", "-", "query", "bob@example.com")
	c.Stdin = in
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := hold.WriteString("half a line"); err != nil {
		t.Fatal(err)
	}
	for isUnread(t, in) {
		runtime.Gosched()
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // the exit code tells
	if code := c.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d, %q", code, said.String())
	}
}

// isUnread reports whether a pipe holds something.
func isUnread(t *testing.T, pipe *os.File) bool {
	t.Helper()
	n, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}
