package appliance

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"dvmigrate/backup"
)

// TestSnapshotsAtS3: what a project's snapshots go through in a bucket.
func TestSnapshotsAtS3(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("acme"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server())
	defer server.Close()
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "AKIAACME", "AWS_SECRET_ACCESS_KEY": "open-sesame", "AWS_REGION": "us-east-1"}
	distantStory(t, "s3://acme/crm", "s3: {endpoint: "+server.URL+"}, ", keys, map[string]string{"AWS_ENDPOINT_URL": server.URL})
	if left, err := backend.ListBucket("acme", nil, gofakes3.ListBucketPage{}); err != nil || len(left.Contents) != 0 {
		t.Errorf("left in the bucket: %v, %v", left, err)
	}
	broken := map[string]string{"AWS_ENDPOINT_URL": "minio.acme.example:9000"}
	if _, err := Snapshots(t.Context(), "s3://acme/crm", nil, KeySource{}, Options{Env: variables(keys, broken)}); err == nil || !strings.Contains(err.Error(), "AWS_ENDPOINT_URL) is not of the form") {
		t.Errorf("an endpoint that is none: %v", err)
	}
}

// TestSnapshotsAtAzure: the same in a container, of Azurite or of Azure; see .ci/azurite.
func TestSnapshotsAtAzure(t *testing.T) {
	place := os.Getenv("DVMIGRATE_AZURE")
	if place == "" {
		t.Skip("no container: run it by .ci/azurite, or set DVMIGRATE_AZURE to one of Azure")
	}
	keys := map[string]string{}
	for _, line := range os.Environ() {
		if name, value, _ := strings.Cut(line, "="); strings.HasPrefix(name, "AZURE_") {
			keys[name] = value
		}
	}
	distantStory(t, place+"/crm", "", keys, nil)
}

// variables is an environment of these variables and a target.
func variables(sets ...map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, set := range sets {
			if v, ok := set[name]; ok {
				return v, true
			}
		}
		return targetAt("")(name)
	}
}

// distantStory: snapshots are taken and copied to a distant place, encrypted, old ones are removed there
// too, they are listed, verified and restored by somebody who has only the place and a key, and discard
// removes them; whoever has kept a copy of what was there cannot read it without the secret key.
func distantStory(t *testing.T, place, settings string, keys, without map[string]string) {
	secret, public, err := backup.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	identity := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(identity, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, ctx := stagedSample(t, ""), t.Context()
	edit(t, filepath.Join(dir, "migration.yaml"), "snapshots: {every: 10m,", "snapshots: {also: ["+place+"], "+settings+"keep: {last: 2, hourly: 0, daily: 0}, encrypt: {recipients: ["+public+"]}, every: 10m,")
	own := Options{Env: variables(keys), Command: "snapshot"}
	p, err := Open(ctx, dir, Loading, own)
	if err != nil {
		t.Fatal(err)
	}
	var taken []SnapshotInfo
	for range 3 {
		info, err := p.Snapshot(ctx, nil)
		if err != nil || len(info.Copies) != 1 || info.Copies[0] != place {
			t.Fatalf("%+v, %v", info, err)
		}
		taken = append(taken, info)
	}
	before, err := p.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}

	stranger, owner := Options{Env: variables(keys, without)}, KeySource{IdentityFile: identity}
	list, err := Snapshots(ctx, place, nil, owner, stranger)
	if err != nil || len(list) != 2 || list[0].ID != taken[2].ID || list[1].ID != taken[1].ID || list[0].Locked || list[0].Summary.Source == 0 {
		t.Fatalf("listed %+v, %v", list, err)
	}
	if list, err := Snapshots(ctx, place, nil, KeySource{}, stranger); err != nil || len(list) != 2 || !list[0].Locked {
		t.Errorf("listed without a key: %+v, %v", list, err)
	}
	if v, err := VerifySnapshot(ctx, place, "", 1, nil, owner, stranger); err != nil || v.Seal != taken[2].Seal {
		t.Errorf("verify: %+v, %v", v, err)
	}
	dest := filepath.Join(t.TempDir(), "restored")
	if _, err := Restore(ctx, RestoreOptions{From: place, Dest: dest}, stranger); err == nil || exists(dest) {
		t.Errorf("restored without a key: %v", err)
	}
	if back, err := Restore(ctx, RestoreOptions{From: place, ID: taken[1].ID, Dest: dest, Keys: owner}, stranger); err != nil || back.Seal != taken[1].Seal {
		t.Fatalf("restore: %+v, %v", back, err)
	}
	restored, err := Open(ctx, dest, Loading, own)
	if err != nil {
		t.Fatal(err)
	}
	after, err := restored.Status(ctx)
	if err != nil || after.Summary != before.Summary || after.Summary.Source == 0 {
		t.Errorf("restored %+v, and it was %+v; %v", after.Summary, before.Summary, err)
	}
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}

	// Somebody has kept a copy of the place: what discard removes is of no use to them.
	kept := t.TempDir()
	if err := os.CopyFS(kept, os.DirFS(filepath.Join(dir, "snapshots"))); err != nil {
		t.Fatal(err)
	}
	meant := DiscardOptions{Force: true, Confirm: func(string) error { return nil }}
	d, err := Discard(ctx, dir, meant, Options{Env: variables(keys), Command: "discard"})
	if err != nil {
		t.Fatal(err)
	}
	var gone []string
	for _, f := range d.Certificate.Destroyed {
		if name, ok := strings.CutPrefix(f.Path, place+"/"); ok {
			gone = append(gone, name)
		}
	}
	if text := strings.Join(gone, " "); len(gone) < 4 || !strings.Contains(text, taken[1].ID+".manifest") || !strings.Contains(text, taken[2].ID+".manifest") {
		t.Errorf("the certificate names %v of %s", gone, place)
	}
	if list, err := Snapshots(ctx, place, nil, owner, stranger); err == nil && len(list) != 0 {
		t.Errorf("still there: %+v", list)
	}
	if _, err := Restore(ctx, RestoreOptions{From: kept, Dest: filepath.Join(t.TempDir(), "x")}, stranger); err == nil {
		t.Error("a kept copy is read without the secret key")
	}
	if exists(filepath.Join(dir, "work")) {
		t.Error("the work folder, with the data key, is still there")
	}
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING"} {
		b, err := os.ReadFile(d.File)
		if v := keys[name]; err != nil || v != "" && strings.Contains(string(b), v) {
			t.Errorf("the certificate has the secret of %s: %v", name, err)
		}
	}
}
