package site

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// Longest bounds a command that is run to its end, and LongestBuild one that
// compiles.
const (
	Longest      = time.Minute
	LongestBuild = 5 * time.Minute
)

// letGo limits how long what a process has started holds its outputs after it
// has ended.
const letGo = 2 * time.Second

// ErrLate is in the error of a command that was killed because its time was over.
var ErrLate = errors.New("it was killed: its time was over")

// Output runs a command to its end, for so long at most, and returns what it
// says on those of its two outputs that lead nowhere yet. The error of one that
// fails or is late names the command and has what it had said; one that ran
// and failed is an *exec.ExitError, one that was killed is ErrLate.
func Output(cmd *exec.Cmd, longest time.Duration) (string, error) {
	var said bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &said
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &said
	}
	cmd.WaitDelay = letGo
	err := cmd.Start()
	if err == nil {
		err = waitFor(cmd, longest)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said.String())
	}
	return said.String(), err
}

// waitFor waits for the end of a command that runs, and brings it about when
// its time is over.
func waitFor(cmd *exec.Cmd, longest time.Duration) error {
	var late atomic.Bool
	limit := time.AfterFunc(longest, func() {
		late.Store(true)
		_ = cmd.Process.Kill()
	})
	defer limit.Stop()
	err := cmd.Wait()
	if err != nil && late.Load() {
		return fmt.Errorf("%w after %v (%w)", ErrLate, longest, err)
	}
	return err
}
