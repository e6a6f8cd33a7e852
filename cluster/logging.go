package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger lets raft log to slog. Levels are kept; trace is debug.
type raftLogger struct {
	log     *slog.Logger
	name    string
	implied []any
}

func newRaftLogger(l *slog.Logger, name string) hclog.Logger {
	return &raftLogger{log: l.With("from", name), name: name}
}

var slogLevels = map[hclog.Level]slog.Level{
	hclog.Trace: slog.LevelDebug,
	hclog.Debug: slog.LevelDebug,
	hclog.Info:  slog.LevelInfo,
	hclog.Warn:  slog.LevelWarn,
	hclog.Error: slog.LevelError,
}

// Log writes one line; a level that raft never uses counts as info.
func (r *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	to, ok := slogLevels[level]
	if !ok {
		to = slog.LevelInfo
	}
	if !r.log.Enabled(context.Background(), to) {
		return
	}
	for i, arg := range args {
		if f, ok := arg.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	r.log.Log(context.Background(), to, msg, args...)
}

func (r *raftLogger) Trace(msg string, args ...any) { r.Log(hclog.Trace, msg, args...) }
func (r *raftLogger) Debug(msg string, args ...any) { r.Log(hclog.Debug, msg, args...) }
func (r *raftLogger) Info(msg string, args ...any)  { r.Log(hclog.Info, msg, args...) }
func (r *raftLogger) Warn(msg string, args ...any)  { r.Log(hclog.Warn, msg, args...) }
func (r *raftLogger) Error(msg string, args ...any) { r.Log(hclog.Error, msg, args...) }

func (r *raftLogger) enabled(level slog.Level) bool {
	return r.log.Enabled(context.Background(), level)
}
func (r *raftLogger) IsTrace() bool { return r.enabled(slog.LevelDebug) }
func (r *raftLogger) IsDebug() bool { return r.enabled(slog.LevelDebug) }
func (r *raftLogger) IsInfo() bool  { return r.enabled(slog.LevelInfo) }
func (r *raftLogger) IsWarn() bool  { return r.enabled(slog.LevelWarn) }
func (r *raftLogger) IsError() bool { return r.enabled(slog.LevelError) }

func (r *raftLogger) ImpliedArgs() []any { return r.implied }
func (r *raftLogger) Name() string       { return r.name }

// With returns a logger that adds args to every line.
func (r *raftLogger) With(args ...any) hclog.Logger {
	implied := append(append([]any(nil), r.implied...), args...)
	return &raftLogger{log: r.log.With(args...), name: r.name, implied: implied}
}

// Named and ResetNamed are asked for by the interface; the name stays.
func (r *raftLogger) Named(string) hclog.Logger      { return r }
func (r *raftLogger) ResetNamed(string) hclog.Logger { return r }

// SetLevel does nothing: the level is the slog handler's.
func (r *raftLogger) SetLevel(hclog.Level) {}

// GetLevel is the least severe level that is written.
func (r *raftLogger) GetLevel() hclog.Level {
	for _, level := range []hclog.Level{hclog.Debug, hclog.Info, hclog.Warn} {
		if r.enabled(slogLevels[level]) {
			return level
		}
	}
	return hclog.Error
}

func (r *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(r.log.Handler(), slog.LevelInfo)
}

func (r *raftLogger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	return r.StandardLogger(opts).Writer()
}
