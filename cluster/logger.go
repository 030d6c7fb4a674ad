package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger writes Raft's log messages to slog. What Raft considers info
// concerns its internals, and becomes debug.
type raftLogger struct {
	to    *slog.Logger
	name  string
	attrs []any
}

func newRaftLogger(to *slog.Logger) hclog.Logger {
	return &raftLogger{to: to.With("part", "raft"), name: "raft"}
}

func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	l.to.Log(context.Background(), slogLevel(level), msg, plainValues(args)...)
}

func slogLevel(level hclog.Level) slog.Level {
	switch level {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Info:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4
}

// plainValues converts hclog values to ones that slog can write.
func plainValues(args []any) []any {
	out := make([]any, 0, len(args)+1)
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			a = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		if i%2 == 0 {
			a = fmt.Sprint(a)
		}
		out = append(out, a)
	}
	return out
}

func (l *raftLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLogger) enabled(level hclog.Level) bool {
	return l.to.Enabled(context.Background(), slogLevel(level))
}

func (l *raftLogger) IsTrace() bool { return l.enabled(hclog.Trace) }
func (l *raftLogger) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l *raftLogger) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l *raftLogger) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l *raftLogger) IsError() bool { return l.enabled(hclog.Error) }

func (l *raftLogger) ImpliedArgs() []any { return l.attrs }

func (l *raftLogger) With(args ...any) hclog.Logger {
	attrs := append(append([]any(nil), l.attrs...), args...)
	return &raftLogger{to: l.to.With(plainValues(args)...), name: l.name, attrs: attrs}
}

func (l *raftLogger) Name() string { return l.name }

func (l *raftLogger) Named(name string) hclog.Logger { return l.ResetNamed(l.name + "." + name) }

func (l *raftLogger) ResetNamed(name string) hclog.Logger {
	return &raftLogger{to: l.to, name: name, attrs: l.attrs}
}

func (l *raftLogger) SetLevel(hclog.Level) {}

func (l *raftLogger) GetLevel() hclog.Level {
	for level := hclog.Trace; level <= hclog.Error; level++ {
		if l.enabled(level) {
			return level
		}
	}
	return hclog.Off
}

func (l *raftLogger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(o), "", 0)
}

func (l *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return lineWriter{l}
}

// lineWriter logs each write as one line.
type lineWriter struct{ l *raftLogger }

func (w lineWriter) Write(b []byte) (int, error) {
	w.l.Info(string(b))
	return len(b), nil
}
