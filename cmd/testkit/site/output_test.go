package site

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A command that hangs, or leaves behind what holds its outputs, ends all the
// same, and the error says which it was and what it had said.
func TestOutput(t *testing.T) {
	for script, want := range map[string]error{
		"echo begun; exec sleep 30":   ErrLate,
		"echo begun; sleep 30 & wait": ErrLate,
		"echo begun; sleep 30 &":      exec.ErrWaitDelay,
		"echo begun":                  nil,
	} {
		cmd := exec.Command("sh", "-c", script)
		said, err := Output(cmd, 500*time.Millisecond)
		if !errors.Is(err, want) || said != "begun\n" {
			t.Errorf("%s: %q, %v", script, said, err)
		}
		if err != nil && !strings.Contains(err.Error(), script) {
			t.Errorf("the error does not name the command: %v", err)
		}
	}
	cmd := exec.Command("sh", "-c", "echo out; echo err >&2; exit 3")
	said, err := Output(cmd, time.Minute)
	if failed, ok := errors.AsType[*exec.ExitError](err); !ok || failed.ExitCode() != 3 || said != "out\nerr\n" {
		t.Errorf("%q, %v", said, err)
	}
}
