package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"dvmigrate/appliance/config"
)

// A discard that is killed after any number of files goes on by its draft, and the
// certificate names them all.
func TestDiscardGoesOnWhereItWasKilled(t *testing.T) {
	for killedAfter := range 6 {
		dir := t.TempDir()
		work, snaps := filepath.Join(dir, "work"), filepath.Join(dir, "snapshots")
		files := []string{
			filepath.Join(work, keptKeyFile),
			filepath.Join(snaps, "20261122T120000.000Z-00000001.manifest"), filepath.Join(snaps, "20261122T120000.000Z-00000001.pack"),
			filepath.Join(work, "stage.duckdb"), filepath.Join(work, "ledger.bolt"),
		}
		yaml := filepath.Join(dir, "migration.yaml")
		write := func(path, text string) {
			t.Helper()
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		write(yaml, "version: 1\nname: x\ntarget: {url: https://a.example}\n")
		for _, path := range files {
			write(path, path)
		}
		p := &Project{Config: loaded(t, dir)}
		c := &Certificate{Project: "x", Snapshots: []DestroyedFolder{{Path: snaps}}}
		if err := p.list(t.Context(), c, []string{snaps}); err != nil {
			t.Fatal(err)
		}
		if c.Destroyed[0].Kind != "key" || c.Destroyed[0].SHA256 != "" || c.Destroyed[1].Kind != "manifest" {
			t.Errorf("the keys are not the first to go: %+v", c.Destroyed)
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(dir, draftFile), string(b))
		ctx := &endsAfter{Context: t.Context(), left: killedAfter}
		if err := p.destroy(ctx, c); (err != nil) != (killedAfter < len(files)) {
			t.Fatalf("killed after %d: %v", killedAfter, err)
		}
		d, err := Discard(t.Context(), dir, DiscardOptions{}, Options{Env: func(string) (string, bool) { return "", false }})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range append(files, work, snaps, filepath.Join(dir, draftFile)) {
			if exists(path) {
				t.Errorf("killed after %d: %s is still there", killedAfter, path)
			}
		}
		again, print, err := VerifyCertificate(d.File)
		if err != nil || print != d.Fingerprint || len(again.Destroyed) != len(files) {
			t.Errorf("certificate: %+v, %v", again, err)
		}
		for _, path := range files {
			if !slices.ContainsFunc(again.Destroyed, func(f DestroyedFile) bool { return f.Path == path && f.Size == int64(len(path)) }) {
				t.Errorf("the certificate does not name %s", path)
			}
		}
	}
}

// endsAfter is a context that ends when it has been asked so often.
type endsAfter struct {
	context.Context
	left int
}

func (e *endsAfter) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

func loaded(t *testing.T, dir string) *config.Config {
	t.Helper()
	c, err := config.Load(dir, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFilesOpenToOthersAreNamed(t *testing.T) {
	dir := t.TempDir()
	work, snaps := filepath.Join(dir, "work"), filepath.Join(dir, "snapshots")
	for _, path := range []string{work, snaps} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	stage := filepath.Join(work, "stage.duckdb")
	if err := os.WriteFile(stage, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if found := openToOthers(work, []string{snaps, filepath.Join(dir, "none")}); len(found) != 0 {
		t.Errorf("closed, but named: %q", found)
	}
	for _, path := range []string{stage, work, snaps} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		work + ` is open to others than its owner (drwxr-xr-x); run: chmod 700 "` + work + `"`,
		stage + ` is open to others than its owner (-rwxr-xr-x); run: chmod 600 "` + stage + `"`,
		snaps + ` is open to others than its owner (drwxr-xr-x); run: chmod 700 "` + snaps + `"`,
	}
	if found := openToOthers(work, []string{snaps, snaps}); !slices.Equal(found, want) {
		t.Errorf("got %q", found)
	}
}
