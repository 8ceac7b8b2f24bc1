package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// env makes a lookup of NAME=value texts.
func env(pairs ...string) func(string) (string, bool) {
	m := map[string]string{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		m[name] = value
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

// project writes migration.yaml into a new folder.
func project(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, File), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFirstFileOfTenLines(t *testing.T) {
	text := example(t, "first.yaml")
	if n := strings.Count(text, "\n"); n > 10 {
		t.Errorf("the first file has %d lines", n)
	}
	dir := project(t, text)
	c, err := Load(dir, env())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"sources/contacts-*.csv", "sources/more.csv"}, c.Sources["contacts"].Path); diff != "" {
		t.Error(diff)
	}
	if s := c.Sources["customers"]; !s.Header || s.Quote != `"` || s.Encoding != "utf-8" || s.Types.Word != TypesText {
		t.Errorf("a source given as a path has not the usual settings: %+v", s)
	}
	if got, want := c.Path(c.Work), filepath.Join(dir, "work"); got != want {
		t.Errorf("Path(work) = %s, want %s", got, want)
	}
	if got, want := c.TempDir(), filepath.Join(dir, "work", "temp"); got != want {
		t.Errorf("TempDir = %s, want %s", got, want)
	}
	elsewhere := filepath.Join(t.TempDir(), "x")
	if got := c.Path(elsewhere); got != elsewhere {
		t.Errorf("an absolute path became %s", got)
	}
}

// source is s with the defaults.
func source(s Source) Source {
	s.Quote, s.Header, s.Encoding, s.Null, s.Feed, s.Types, s.MaxBadLines = `"`, true, "utf-8", []string{""}, first(s.Feed, "full"), Types{Word: TypesText}, 1000
	return s
}

func TestEverySettingIsRead(t *testing.T) {
	c, err := Load(project(t, example(t, "full.yaml")), env("TENANT=acme.example", "DV_SECRET=s3cret", "DV_SECRET2=s2", "TOKEN3=t3", "READY_TOKEN=tok", "PASSPHRASE=open sesame", "SRC_DSN=dsn", "SRC_SECRET=ss", "SRC_TOKEN=st", "MASK_KEY=0123456789abcdef", "HOOK=https://hooks.acme.example/x", "HOOK_KEY=Bearer hk"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Version: 1, Name: "acme-crm", Schema: "schema.json", Transforms: "transform", Files: "files", Work: "work",
		Target: Target{
			URL: "https://acme.crm4.dynamics.com/", Auth: "client-secret", Tenant: "acme.example",
			Client: "0f8fad5b-d9cb-469f-a165-70867728950e", Secret: NewSecret("s3cret"), Token: NewSecret("tok"),
			Certificate: "certs/app.pem", Cloud: "public",
			Users: []User{
				{Client: "1f8fad5b-d9cb-469f-a165-70867728950e", Secret: NewSecret("s2")},
				{Auth: "certificate", Tenant: "other.example", Client: "2f8fad5b-d9cb-469f-a165-70867728950e", Certificate: "certs/app2.pem", Token: NewSecret("t3")},
			},
		},
		Sources: map[string]Source{
			"customers": {Path: []string{"sources/customers.csv"}, Quote: `"`, Header: true, Encoding: "utf-8", Null: []string{""}, Feed: "full", Types: Types{Word: TypesText}, MaxBadLines: 1000},
			"orders": {
				Path: []string{"a-*.csv", "b.csv"}, Format: "csv", Delimiter: ";", Quote: `"`, Escape: `\`, Header: true, Encoding: "windows-1252",
				Null: []string{"", "NULL"}, RowEnd: "&|", Columns: []string{"id", "amount"}, MaxBadLines: 10, MaxBad: "0.1%", Partition: true, Feed: "tombstones", RowKey: []string{"id"}, Tombstone: "op = 'D'", ReadOnce: true,
				Types: Types{Columns: map[string]string{"amount": "DECIMAL(18,2)"}, Formats: map[string]TypeFormat{
					"day": {Format: []string{"%d.%m.%Y"}}, "price": {Type: "DECIMAL(12,2)", Decimal: ",", Thousands: "."}}},
				Mask: map[string]Mask{"name": {As: "name"}, "born": {As: "date", By: "id", Days: 30}},
			},
			"prices":   source(Source{Path: []string{"prices.xlsx"}, Sheet: "Prices", Range: "A2:F", HeaderRow: 2}),
			"invoices": source(Source{Database: "postgres", DSN: NewSecret("dsn"), Table: "sales.invoices", Key: []string{"id"}, Parallel: 4, Feed: "changes", RowKey: []string{"id"}, Watermark: "changed", Overlap: "30m"}),
			"debts":    source(Source{Database: "sqlite", Path: []string{"debts.db"}, Query: "SELECT * FROM debts"}),
			"partners": source(Source{Dataverse: "https://old.crm4.dynamics.com", Table: "account", Select: []string{"accountid", "name"}, Filter: "statecode eq 0",
				Auth: "client-secret", Tenant: "acme.example", Client: "app", Secret: NewSecret("ss"), Certificate: "app.pem", Token: NewSecret("st"), Cloud: "public"}),
		},
		Reconcile: map[string]Comparison{"account": {Allow: Allowance{Missing: "3", Extra: "0", Different: "0.1%", Duplicates: "1"}, Ignore: []string{"description"}, Loose: []string{"name"},
			Sums: []string{"revenue"}, Groups: []string{"ownerid"}, Source: map[string]SourceFigure{"rows": {SQL: "SELECT count(*) FROM customers"}}}},
		Tables: map[string]Table{"account": {IDs: "keep", OnMatch: "update", OnConflict: "merge", Gone: "deactivate", Former: "drop", ShardBy: "parentaccountid", Impersonate: "createdby", Match: []string{"name", "accountnumber"}, Batch: 200, Parallel: 8, Message: "bulk", Headers: Headers{Bypass: []string{"sync", "async"}, BypassSteps: []string{}, DuplicateDetection: true},
			Repair: map[string]Repair{"*": {TooLong: "trim", NotOption: "hold", OutOfRange: "clamp", WrongType: "blank", NoTarget: "blank"},
				"ownerid": {Empty: "team:5f8fad5b-d9cb-469f-a165-70867728950e"}}}},
		Repair:  Repair{TooLong: "hold", NotOption: "blank", OutOfRange: "0", WrongType: "hold", Empty: "hold", NoTarget: "hold"},
		Checks:  Checks{Skip: []string{"DVM-CURR"}},
		Masking: Masking{Key: NewSecret("0123456789abcdef"), KeyFile: "mask.key", Off: true},
		Guard:   Guard{Gone: "5%", Fewer: "12.5%"}, Rollback: Rollback{Keep: false},
		Stage: Stage{Memory: 4e9, Temp: "scratch/temp", TempLimit: 100 << 30, Threads: 8},
		Load: Loading{Batch: 150, Parallel: 16, Timeout: 150 * time.Second, Patience: time.Hour, MaxErrors: 5000,
			Headers: Headers{Bypass: []string{"sync"}, BypassSteps: []string{"3f8fad5b-d9cb-469f-a165-70867728950e"}, SuppressFlows: true, Tag: "migration",
				Impersonate: "4f8fad5b-d9cb-469f-a165-70867728950e"}},
		Snapshots: Snapshots{To: "snapshots", Also: []string{"/mnt/share/crm"}, S3: S3{Endpoint: "https://minio.acme.example:9000", Region: "eu-1", PathStyle: true}, Encrypt: Encrypt{Recipients: []string{"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"}, RecipientsFile: "keys.txt", Passphrase: NewSecret("open sesame")}, Every: 30 * time.Minute, Keep: Keep{Last: 3, Hourly: 12, Daily: 7}, Sources: true},
		Limits:    Limits{Requests: 8000, Window: 300 * time.Second, Execution: 20 * time.Minute, Concurrent: 100, Users: 2, Servers: 3},
		Estimate: Estimate{Buffer: 27.5, Window: 48 * time.Hour, Latency: 60 * time.Millisecond, Record: 4 * time.Millisecond, Hint: 12, Split: 72 * time.Hour, Change: 3.5, Faults: 0.5,
			Rates: map[string]Rate{"account": {Insert: 250, Update: 200.5, Records: 120000, Change: 4, Before: true}}},
		Log: Logging{File: "logs/load.log", Level: "debug", Format: "json", Size: 10e6, Keep: 3},
		Alerts: Alerts{Errors: "2%", Rate: "40%", Still: 20 * time.Minute, Throttled: "70%", Disk: 8e9, Snapshot: 2 * time.Hour, Finish: "2026-12-06T22:00:00+01:00", Token: 5 * time.Minute, Schema: 30 * time.Minute,
			To: map[string]Channel{
				"duty": {Webhook: NewSecret("https://hooks.acme.example/x"), Authorization: NewSecret("Bearer hk"), Only: []string{"errors", "still"}},
				"team": {Teams: NewSecret("https://hooks.acme.example/x")},
				"post": {SMTP: "smtp.acme.example:587", TLS: "starttls", User: "dv", Password: NewSecret("Bearer hk"), From: "dv@acme.example", Mail: []string{"ops@acme.example"}},
				"page": {Command: []string{"page", "--now"}},
			}},
		Dir: c.Dir,
	}
	if diff := cmp.Diff(want.values(), c.values(), cmp.Comparer(sameSecret)); diff != "" {
		t.Error(diff)
	}
	if got := c.Target.Environment(); got != "https://acme.crm4.dynamics.com" {
		t.Errorf("Environment = %s", got)
	}
	if got := c.Table("account"); got.Batch != 200 || got.Parallel != 8 {
		t.Errorf("account loads with %+v", got)
	}
	if got := c.Table("account").Headers; got.Tag != "" || !got.DuplicateDetection {
		t.Errorf("account has headers of its own, and gets %+v", got)
	}
	if got := c.Table("contact").Headers; got.Tag != "migration" {
		t.Errorf("a table that is not named gets %+v", got)
	}
	if got := c.Table("contact"); got.Batch != 150 || got.Parallel != 16 || got.IDs != "assign" || got.Message != "auto" {
		t.Errorf("a table that is not named loads with %+v", got)
	}
}

func sameSecret(a, b Secret) bool { return a.Reveal() == b.Reveal() }

// TestBatchOfTable: a table's own word goes before load.batch, also when it is auto.
func TestBatchOfTable(t *testing.T) {
	for _, c := range []struct {
		text string
		want Batch
	}{
		{"", 0}, {"load: {batch: auto}", 0}, {"load: {batch: 0}", 0}, {"load: {batch: 7}", 7},
		{"load: {batch: 7}\ntables: {account: {batch: auto}}", 0}, {"load: {batch: 7}\ntables: {account: {batch: 0}}", 7},
		{"tables: {account: {batch: 9}}", 9},
	} {
		p, err := parse([]byte(body(c.text)), "", env(), false)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Table("account").Batch; got != c.want {
			t.Errorf("%q: batch %d, want %d", c.text, got, c.want)
		}
	}
}

func TestWhoWins(t *testing.T) {
	const head = "version: 1\nname: x\n"
	cases := map[string]struct {
		file  string
		env   []string
		flags func(*Config)
		want  string
	}{
		"the default where nobody says anything": {want: "batch auto, url , memory 0, every 1h, sources false"},
		"the file over the default": {
			file: "load: {batch: 7}\ntarget: {url: https://file}\nstage: {memory: 1GB}\nsnapshots: {every: 2h, sources: true}",
			want: "batch 7, url https://file, memory 1GB, every 2h, sources true"},
		"the environment over the file": {
			file: "load: {batch: 7}\ntarget: {url: https://file}\nstage: {memory: 1GB}\nsnapshots: {every: 2h, sources: true}",
			env:  []string{"DVMIGRATE_LOAD_BATCH=8", "DVMIGRATE_TARGET_URL=https://env", "DVMIGRATE_STAGE_MEMORY=2GB", "DVMIGRATE_SNAPSHOTS_EVERY=0", "DVMIGRATE_SNAPSHOTS_SOURCES=false"},
			want: "batch 8, url https://env, memory 2GB, every 0, sources false"},
		"a flag over the environment": {
			file:  "load: {batch: 7}",
			env:   []string{"DVMIGRATE_LOAD_BATCH=8", "DVMIGRATE_TARGET_URL=https://env"},
			flags: func(c *Config) { c.Load.Batch, c.Target.URL = 9, "https://flag" },
			want:  "batch 9, url https://flag, memory 0, every 1h, sources false"},
		"the file where the variable is empty": {
			file: "load: {batch: 7}", env: []string{"DVMIGRATE_LOAD_BATCH="},
			want: "batch 7, url , memory 0, every 1h, sources false"},
		"the default where the key has no value": {
			file: "load:\n  batch:\ntarget:\nsources:\n",
			want: "batch auto, url , memory 0, every 1h, sources false"},
		"the file alone for what is inside a named entry": {
			file: "tables: {account: {batch: 5}}\nload: {batch: 7}", env: []string{"DVMIGRATE_TABLES_ACCOUNT_BATCH=6"},
			want: "batch 7, url , memory 0, every 1h, sources false"},
		"the file alone for version and name": {
			env: []string{"DVMIGRATE_VERSION=3", "DVMIGRATE_NAME=NO"}, want: "batch auto, url , memory 0, every 1h, sources false"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := Load(project(t, head+tc.file), env(tc.env...))
			if err != nil {
				t.Fatal(err)
			}
			if tc.flags != nil {
				tc.flags(c)
			}
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			v := c.values()
			got := strings.Join([]string{
				"batch " + plainText(v["load.batch"]), "url " + c.Target.URL, "memory " + c.Stage.Memory.String(),
				"every " + durationText(c.Snapshots.Every), "sources " + plainText(c.Snapshots.Sources)}, ", ")
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestTokenVariableNeedsNothingElse(t *testing.T) {
	dir := project(t, "version: 1\nname: x\ntarget: {url: https://a.example, auth: client-secret}\n")
	if _, err := Load(dir, env()); err == nil {
		t.Error("client-secret without tenant, client and secret was taken")
	}
	c, err := Load(dir, env("DVMIGRATE_TOKEN=abc"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Target.Token.Reveal(); got != "abc" {
		t.Errorf("token is %q", got)
	}
}

// TestSignIns: who signs in, by what the file and the environment say.
func TestSignIns(t *testing.T) {
	const two = `target:
  url: https://a.example
  auth: client-secret
  tenant: t
  client: one
  secret: ${S}
  users:
    - {client: two, secret: "${S}"}
    - {auth: certificate, tenant: u, client: three, certificate: c.pem}
    - {token: "${T}"}
`
	cases := map[string]struct {
		text string
		env  []string
		want []string
	}{
		"nobody is named: one, by the default way": {text: "target: {url: https://a.example}", want: []string{"default t= c="}},
		"more users take auth and tenant over": {text: two, env: []string{"S=s", "T=tok"},
			want: []string{"client-secret t=t c=one", "client-secret t=t c=two", "certificate t=u c=three", "client-secret t=t c= token tok"}},
		"a ready token instead of all": {text: two, env: []string{"S=s", "T=tok", "DVMIGRATE_TOKEN=abc"}, want: []string{"client-secret t=t c= token abc"}},
		"several tokens are as many users": {text: two, env: []string{"S=s", "T=tok", "DVMIGRATE_TOKEN= a,b ,\tc\n"},
			want: []string{"client-secret t=t c= token a", "client-secret t=t c= token b", "client-secret t=t c= token c"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := parse([]byte(body(tc.text)), "", env(tc.env...), false)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, u := range c.Target.SignIns() {
				line := u.Auth + " t=" + u.Tenant + " c=" + u.Client
				if !u.Token.IsZero() {
					line += " token " + u.Token.Reveal()
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if c.Users() != len(tc.want) {
				t.Errorf("Users() = %d", c.Users())
			}
			c.Limits.Users = 7
			if c.Users() != 7 {
				t.Errorf("limits.users does not win: %d", c.Users())
			}
		})
	}
}

// TestHeadersOfATable: what a table says replaces load.headers, nothing at all too.
func TestHeadersOfATable(t *testing.T) {
	c, err := parse([]byte(body(`load: {headers: {suppress_flows: true, bypass: sync}}
tables:
  account: {batch: 5}
  contact: {headers: {}}
  lead: {headers: {tag: x}}
  task: {headers: }`)), "", env(), false)
	if err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]Headers{
		"account": c.Load.Headers, "task": c.Load.Headers, "opportunity": c.Load.Headers, "contact": {}, "lead": {Tag: "x"},
	} {
		got := c.Table(table).Headers
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Headers{})); diff != "" {
			t.Errorf("%s: %s", table, diff)
		}
	}
	again, err := parse([]byte(withoutSecrets(c.String())), "", env(), false)
	if err != nil || len(again.Table("account").Headers.Bypass) != 1 || len(again.Table("contact").Headers.Bypass) != 0 {
		t.Errorf("shown and read back: %v\n%s", err, c)
	}
}

func TestMissingFileSaysWhatToDo(t *testing.T) {
	_, err := Load(t.TempDir(), env())
	if !errors.Is(err, errNoFile) || !strings.Contains(err.Error(), "dvmigrate init") || !strings.Contains(err.Error(), "-C DIR") {
		t.Errorf("got %v", err)
	}
}

func TestTooLargeFileIsRefused(t *testing.T) {
	_, err := Load(project(t, strings.Repeat("# filler\n", maxFile/8)), env())
	if err == nil || !strings.Contains(err.Error(), "bytes; it may have") {
		t.Errorf("got %v", err)
	}
}

func TestRequireTarget(t *testing.T) {
	c, err := parse([]byte("version: 1\nname: x\ntarget: {auth: default}\n"), "", env(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RequireTarget(); err == nil || !strings.HasPrefix(err.Error(), "migration.yaml:3:9: `target.url` is missing") {
		t.Errorf("got %v", err)
	}
	c.Target.URL = "https://a.example"
	if err := c.RequireTarget(); err != nil {
		t.Error(err)
	}
}

func TestExpand(t *testing.T) {
	look := env("A=1", "B=${A}", "EMPTY=")
	for text, want := range map[string]string{
		"":                   "",
		"no reference":       "no reference",
		"${A}":               "1",
		"x${A}y${A}z":        "x1y1z",
		"${B} is not looked": "${A} is not looked",
		"${EMPTY}.":          ".",
		"$${A} and $A and $": "${A} and $A and $",
		"$$${A}":             "$${A}",
	} {
		got, err := expand(text, look)
		if err != nil || got != want {
			t.Errorf("expand(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"${", "${A", "${}", "${1}", "${A B}", "${MISSING}"} {
		if got, err := expand(text, look); err == nil {
			t.Errorf("expand(%q) = %q without an error", text, got)
		}
	}
}
