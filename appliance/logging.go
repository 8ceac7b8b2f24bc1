package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

// The log is for who looks later: begin and end of each command, what a load tells of
// itself, every request that failed with the service's id of it, every record that was
// refused. It is kept while a command works on the project, by the process that has it.
//
// Nothing waits for it: a line goes into a queue, and one goroutine writes. Where the disk
// does not take it, or not fast enough, lines are lost; that is said once on standard error
// and, once lines are taken again, in the log with their number. No line holds a secret of
// the settings, whoever wrote it; values of masked columns are masked before anything that
// logs has seen them.

// hidden stands in a text for a secret.
const hidden = "(hidden)"

// LogOptions say where the log goes and what it holds; what is empty is as in the settings.
type LogOptions struct {
	File   string // "-": standard error
	Level  string
	Format string
}

// logQueue is how many lines may wait to be written.
const logQueue = 4096

// logGrace is how long the end of the process waits for the last lines.
const logGrace = 2 * time.Second

// keepLog opens the log of a process that works on the project.
func (p *Project) keepLog() error {
	l, o := &p.Config.Log, p.o.Logging
	for _, set := range []struct {
		setting *string
		flag    string
	}{{&l.File, o.File}, {&l.Level, o.Level}, {&l.Format, o.Format}} {
		if set.flag != "" {
			*set.setting = set.flag
		}
	}
	if err := p.Config.Validate(); err != nil {
		return err
	}
	var out io.WriteCloser
	name := p.Config.LogFile()
	switch name {
	case config.LogNone:
		return nil
	case config.LogStderr:
		out = keptOpen{p.o.Stderr}
		if p.o.Stderr == nil {
			return nil
		}
	default:
		out = &lumberjack.Logger{Filename: name, MaxSize: max(int(l.Size>>20), 1), MaxBackups: l.Keep, Compress: true}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return err
	}
	secrets := p.Config.Secrets()
	handler := func(w io.Writer) *slog.Logger {
		h := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { return withoutSecrets(a, secrets) }}
		if l.Format == "json" {
			return slog.New(slog.NewJSONHandler(w, h))
		}
		return slog.New(slog.NewTextHandler(w, h))
	}
	tell := func(message string) {
		if p.o.Warn != nil {
			p.o.Warn(message)
		}
	}
	p.log = newLogWriter(out, name, tell, handler(out))
	p.o.Log = handler(p.log)
	return nil
}

// keptOpen is standard error, which others use too.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// withoutSecrets hides secrets in what a line says.
func withoutSecrets(a slog.Attr, secrets []string) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
		return a
	}
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(scrubbed(v.String(), secrets))
	case slog.KindAny:
		if text, ok := v.Any().([]string); ok {
			a.Value = slog.StringValue(scrubbed(strings.Join(text, " "), secrets))
			return a
		}
		a.Value = slog.StringValue(scrubbed(fmt.Sprint(v.Any()), secrets)) // an error
	}
	return a
}

// shortestSecret is the length from which a text is taken for a secret: the `t` that
// somebody gives the emulator as a token would take every t out of the log.
const shortestSecret = 4

func scrubbed(text string, secrets []string) string {
	for _, s := range secrets {
		if len(s) >= shortestSecret {
			text = strings.ReplaceAll(text, s, hidden)
		}
	}
	return text
}

// logWriter takes lines and never waits.
type logWriter struct {
	queue   chan []byte
	closing chan struct{} // closed by Close
	done    chan struct{} // closed when the last line is written
	close   sync.Once
	lost    atomic.Int64
	name    string
	tell    func(message string)
	own     *slog.Logger // writes past the queue; of the goroutine alone
}

func newLogWriter(out io.WriteCloser, name string, tell func(string), own *slog.Logger) *logWriter {
	w := &logWriter{queue: make(chan []byte, logQueue), closing: make(chan struct{}), done: make(chan struct{}), name: name, tell: tell, own: own}
	go w.run(out)
	return w
}

// Write implements io.Writer for slog, which uses the bytes again.
func (w *logWriter) Write(line []byte) (int, error) {
	select {
	case <-w.closing:
	case w.queue <- bytes.Clone(line):
	default:
		w.lost.Add(1)
	}
	return len(line), nil
}

func (w *logWriter) run(out io.WriteCloser) {
	defer close(w.done)
	told := false
	write := func(line []byte) {
		_, err := out.Write(line)
		if err != nil {
			w.lost.Add(1)
			if !told {
				told = true
				w.tell(fmt.Sprintf("the log %s cannot be written: %v; its lines are lost until it can, and the work goes on", w.name, reasonOf(err)))
			}
			return
		}
		if n := w.lost.Swap(0); n > 0 {
			w.own.Warn("lines are missing before this one", "lines", n)
		}
	}
	for {
		select {
		case line := <-w.queue:
			write(line)
		case <-w.closing:
			for {
				select {
				case line := <-w.queue:
					write(line)
					continue
				default:
				}
				_ = out.Close() // each line was written or counted as lost
				return
			}
		}
	}
}

// reasonOf is an error without the path that the message names already.
func reasonOf(err error) error {
	var path *os.PathError
	var program *exec.Error
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &program):
		return program.Err
	}
	return err
}

// Close writes what waits, for as long as a healthy disk may take.
func (w *logWriter) Close() {
	w.close.Do(func() { close(w.closing) })
	t := time.NewTimer(logGrace)
	defer t.Stop()
	select {
	case <-w.done:
	case <-t.C:
	}
}

// depth is how many lines wait.
func (w *logWriter) depth() int {
	if w == nil {
		return 0
	}
	return len(w.queue)
}

// logEvents writes what a load tells of itself since the event with this number, and
// returns the newest one's.
func (p *Project) logEvents(ctx context.Context, t *progress.Tracker, seen uint64) uint64 {
	if !p.o.Log.Enabled(ctx, slog.LevelInfo) {
		return seen
	}
	for _, e := range t.Since(seen) {
		seen = e.Seq
		if e.Kind != progress.Throttling { // each throttled request has a line of its own
			text := e.Text
			if e.Table != "" {
				text = e.Table + ": " + text
			}
			p.o.Log.Info(text, "event", string(e.Kind), "table", e.Table, "times", e.Times)
		}
	}
	return seen
}

// followLog writes what a load tells of itself until ctx ends, and then closes the channel.
func (p *Project) followLog(ctx context.Context, t *progress.Tracker) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var seen uint64
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
			seen = p.logEvents(ctx, t, seen)
		}
	}()
	return done
}
