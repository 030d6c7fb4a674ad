package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cmd/internal/cli"
)

// reportError says on standard error why a command failed, in one line but for a
// linesError, and returns the exit code.
func (a *app) reportError(err error) int {
	if err == nil {
		return 0
	}
	lines := []string{a.explainError(err)}
	if _, ok := errors.AsType[*linesError](err); ok {
		lines = strings.Split(lines[0], "\n")
	}
	for _, line := range lines {
		fmt.Fprintln(a.errOut, "simpctl: "+cli.Escape(line))
	}
	var usage *cli.UsageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// linesError is an error of several lines, such as the problems of a file.
type linesError struct{ text string }

// newLinesError returns an error that is shown as these lines. What comes from
// outside makes no further ones.
func newLinesError(lines ...string) error {
	escaped := make([]string, len(lines))
	for i, line := range lines {
		escaped[i] = cli.Escape(line)
	}
	return &linesError{strings.Join(escaped, "\n")}
}

func (e *linesError) Error() string { return e.text }

// explainError says what is wrong, and what to do where that is known.
func (a *app) explainError(err error) string {
	var called interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &called) {
		if errors.Is(err, context.Canceled) {
			return "interrupted"
		}
		return err.Error()
	}
	text, _, wrapped := strings.Cut(err.Error(), "rpc error:")
	if !wrapped {
		text = ""
	}
	return text + a.statusSentence(called.GRPCStatus())
}

func (a *app) statusSentence(s *status.Status) string {
	switch s.Code() {
	case codes.Unavailable:
		return a.explainUnreachable(s)
	case codes.Unauthenticated:
		if r := reasonOf(s); r == "" || r == "CREDENTIALS_MISSING" {
			return s.Message() + "; give --tls-cert and --tls-key, or --token-file"
		}
	case codes.Unimplemented:
		return a.tooOld()
	case codes.DeadlineExceeded:
		if reasonOf(s) == "" { // the time was over here
			return fmt.Sprintf("%s did not answer in time; the command may have been carried out, or may yet be", a.addr)
		}
	case codes.Canceled:
		return "interrupted"
	}
	if reasonOf(s) == "NO_METHOD" {
		return a.tooOld()
	}
	return s.Message()
}

func (a *app) tooOld() string {
	return fmt.Sprintf("the node at %s does not know this command; is it of an older version?", a.addr)
}

// explainUnreachable tells a node that does not answer from one that can't.
func (a *app) explainUnreachable(s *status.Status) string {
	if reasonOf(s) != "" {
		return s.Message()
	}
	cause := s.Message()
	if i := strings.LastIndex(cause, ": "); i >= 0 && strings.Contains(cause, "connection error") {
		cause = strings.Trim(cause[i+2:], `"`)
	}
	return fmt.Sprintf("can't reach a node at %s: %s; %s", a.addr, cause, a.connectionAdvice(cause))
}

// connectionAdvice says what is likely wrong when a connection does not come about.
func (a *app) connectionAdvice(cause string) string {
	switch {
	case a.insecure && (strings.Contains(cause, "EOF") || strings.Contains(cause, "preface") || strings.Contains(cause, "reset")):
		return "does it require TLS? Then leave out --insecure and give --tls-ca, --tls-cert and --tls-key"
	case strings.Contains(cause, "first record does not look like a TLS handshake"):
		return "it does not use TLS; use --insecure"
	case strings.Contains(cause, "certificate"):
		return "is --tls-ca the authority of this site?"
	}
	return "is it running, and is --addr right?"
}

// reasonOf returns the reason that the site itself gave; "" if it gave none.
func reasonOf(s *status.Status) string {
	for _, d := range s.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok && i.Domain == "simp.v1" {
			return i.Reason
		}
	}
	return ""
}
