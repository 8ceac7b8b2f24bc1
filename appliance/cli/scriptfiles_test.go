package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"dvmigrate/duckstage"
)

// The scripts' commands on files and on the stage; see TestScripts.

func cmdProject(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "project DIR")
	ts.Check(copyStaged(ts.MkAbs(args[0])))
}

// walk calls fn for every file under a path.
func walk(path string, fn func(path string, content []byte) error) error {
	return filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return fn(path, b)
	})
}

func cmdKeep(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "keep PATH ...")
	s := storyOf(ts)
	clear(s.kept)
	for _, path := range args {
		ts.Check(walk(ts.MkAbs(path), func(path string, b []byte) error {
			s.kept[path] = b
			return nil
		}))
	}
}

func cmdUnharmed(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 0, "unharmed")
	for path, want := range storyOf(ts).kept {
		got, err := os.ReadFile(path)
		ts.Check(err)
		if !bytes.Equal(got, want) {
			ts.Fatalf("%s was changed (%d bytes, now %d)", path, len(want), len(got))
		}
	}
}

func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "damage FILE OFFSET")
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if at < 0 {
		at += len(b)
	}
	if at >= len(b) {
		ts.Fatalf("%s has only %d bytes", args[0], len(b))
	}
	for i := at; i < min(at+64, len(b)); i++ {
		b[i] ^= 0xff
	}
	ts.Check(os.WriteFile(path, b, 0o600))
}

func cmdShorten(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "shorten FILE SIZE")
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

func cmdReplace(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 3, "replace FILE OLD NEW")
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	if !bytes.Contains(b, []byte(args[1])) {
		ts.Fatalf("%s does not have %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(b, []byte(args[1]), []byte(args[2])), 0o600))
}

func cmdSecret(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "secret TEXT")
	for _, name := range []string{"stdout", "stderr"} {
		if strings.Contains(ts.ReadFile(name), args[0]) {
			ts.Fatalf("%s has the secret", name)
		}
	}
	ts.Check(walk(ts.Getenv("WORK"), func(path string, b []byte) error {
		if bytes.Contains(b, []byte(args[0])) {
			return fmt.Errorf("%s has the secret", path)
		}
		return nil
	}))
}

// openStage opens a project's stage in this process, which is not dvmigrate's.
func openStage(ts *testscript.TestScript, dir string) *duckstage.Stage {
	b, err := os.ReadFile(ts.MkAbs(filepath.Join(dir, "work", "project.json")))
	ts.Check(err)
	var id struct{ Set string }
	ts.Check(json.Unmarshal(b, &id))
	o := duckstage.Options{Temp: ts.MkAbs("temp")}
	_, err = hex.Decode(o.Set[:], []byte(id.Set))
	ts.Check(err)
	s, err := duckstage.Open(context.Background(), ts.MkAbs(filepath.Join(dir, "work", "stage.duckdb")), o)
	ts.Check(err)
	return s
}

func cmdStageFormat(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "stageformat DIR VALUE")
	s := openStage(ts, args[0])
	err := s.SetMeta(context.Background(), "format", args[1])
	ts.Check(errors.Join(err, s.Close()))
}

func cmdStageHold(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "stagehold DIR | none")
	story := storyOf(ts)
	if args[0] != "none" {
		story.stage = openStage(ts, args[0])
		ts.Defer(func() { _ = story.stage.Close() })
		return
	}
	ts.Check(story.stage.Close())
}
