package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
)

func TestReaderEndsWithItsContext(t *testing.T) {
	from, to := io.Pipe()
	defer to.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r := Reader(ctx, from)
	go func() { _, _ = to.Write([]byte("abc")) }()
	got := make([]byte, 3)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "abc" {
		t.Fatalf("read %q, %v", got, err)
	}
	cancel()
	for range 2 {
		if n, err := r.Read(got); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %d, %v", n, err)
		}
	}
}

func TestReaderReadsToTheEnd(t *testing.T) {
	long := strings.Repeat("0123456789", 10_000)
	got, err := io.ReadAll(Reader(t.Context(), strings.NewReader(long)))
	if err != nil || string(got) != long {
		t.Errorf("read %d of %d octets: %v", len(got), len(long), err)
	}
}

func TestContextEndsWithTheFirstSignal(t *testing.T) {
	ctx, stop := Context()
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
}

func TestValuesAreExplainedInWords(t *testing.T) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Duration("timeout", 0, "")
	f.Bool("plaintext", false, "")
	f.Int("repeats", 0, "")
	for arg, want := range map[string]string{
		"--timeout=5":       `invalid --timeout "5": must be a duration with its unit, such as 5s or 1m30s`,
		"--plaintext=maybe": `invalid --plaintext "maybe": must be true or false`,
		"--repeats=x":       `invalid --repeats "x": must be a whole number`,
		"--dance":           "unknown flag: --dance",
	} {
		if got := FlagError(f.Parse([]string{arg})); got != want {
			t.Errorf("%s: %q, want %q", arg, got, want)
		}
	}
	if got := VariableError("SIMP_PLAINTEXT", "maybe", f.Lookup("plaintext")); got != `invalid SIMP_PLAINTEXT="maybe": must be true or false` {
		t.Error(got)
	}
}
