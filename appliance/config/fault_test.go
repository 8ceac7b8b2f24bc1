package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func plainText(v any) string { return fmt.Sprint(v) }

// body puts text after a valid head of two lines: its first line is line 3.
func body(text string) string { return "version: 1\nname: x\n" + text + "\n" }

func TestEveryFaultHasItsLine(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"an unknown key":                 {body("sorces: {}"), "3:1: unknown key `sorces`; did you mean `sources`?"},
		"an unknown key inside":          {body("target:\n  ulr: https://a"), "4:3: unknown key `ulr`; did you mean `url`?"},
		"a key of another mapping":       {body("batch: 5"), "3:1: unknown key `batch`; did you mean `load.batch`?"},
		"a key like nothing":             {body("snapshots: {keep: {zzz: 1}}"), "3:20: unknown key `zzz`; known are last, hourly, daily"},
		"an unknown key of a source":     {body("sources:\n  a: {path: a.csv, delimeter: ';'}"), "4:20: unknown key `delimeter`; did you mean `delimiter`?"},
		"a watermark of a file":          {body("sources:\n  a: {path: a, feed: changes, row_key: id, watermark: t}"), "4:55: `sources.a.watermark` means nothing for a source that is not a database; of files, read_once: true reads the new ones alone"},
		"a watermark of a full feed":     {body("sources:\n  a: {database: sqlite, path: a, table: t, watermark: t}"), "4:55: `sources.a.watermark` is given, and feed is full: rows past a watermark are new or changed ones; write feed: changes"},
		"an overlap of nothing":          {body("sources:\n  a: {database: sqlite, path: a, table: t, overlap: 3h}"), "4:53: `sources.a.overlap` means nothing without a watermark; name the column with watermark"},
		"an overlap that is none":        {body("sources:\n  a: {database: sqlite, path: a, table: t, feed: changes, row_key: id, watermark: t, overlap: long}"), "4:95: `sources.a.overlap`: \"long\" is neither a duration such as 30m nor a whole number such as 1000"},
		"files of a full feed once":      {body("sources:\n  a: {path: a, read_once: true}"), "4:27: `sources.a.read_once` means nothing where each reading delivers all rows; write feed: changes, or feed: tombstones"},
		"a duplicate key":                {body("load: {batch: 1}\nload: {batch: 2}"), "4:1: duplicate key `load`; it is also on line 3"},
		"a duplicate key inside":         {body("load:\n  batch: 1\n  batch: 2"), "5:3: duplicate key `batch`; it is also on line 4"},
		"a duplicate column type":        {body("sources:\n  a: {path: a.csv, types: {x: A, x: B}}"), "4:34: duplicate key `x`; it is also on line 4"},
		"text for a number":              {body("load: {batch: many}"), "3:15: `load.batch`: \"many\" should be auto or a whole number"},
		"a quoted number":                {body("load: {batch: \"5\"}"), "3:15: `load.batch` is text in quotes and should be a whole number; leave out the quotes"},
		"an octal number":                {body("load: {batch: 010}"), "3:15: `load.batch`: \"010\" should be auto or a whole number"},
		"a number for text":              {body("schema: 5"), "3:9: `schema` should be text but YAML reads `5` as a number; put it in quotes"},
		"null in a list of texts":        {body("sources:\n  a:\n    path: a.csv\n    null: [\"\", NULL]"), "6:16: `sources.a.null[1]` should be text but YAML reads `NULL` as no value; put it in quotes"},
		"a list for a mapping":           {body("target: [a]"), "3:9: `target` should be a mapping (key: value) but is a list"},
		"a mapping for a value":          {body("name2: {}\nwork: {a: b}"), "4:7: `work` should be one value but is a mapping"},
		"a value for a mapping":          {body("load: fast"), "3:7: `load` should be a mapping (key: value) but is text"},
		"yes for true":                   {body("snapshots: {sources: yes}"), "3:22: `snapshots.sources`: \"yes\" should be true or false"},
		"a file that is a list":          {"- a\n- b\n", "1:1: `migration.yaml` should be a mapping (key: value) but is a list"},
		"a duration without a unit":      {body("load: {timeout: 150}"), "3:17: `load.timeout`: \"150\" is not a duration such as 90s, 15m, 1h30m or 2d"},
		"a size without a unit":          {body("stage: {memory: 4}"), "3:17: `stage.memory`: \"4\" is not a size such as 512MB, 4GB or 2GiB"},
		"a word that is no choice":       {body("target: {auth: client-secrt}"), "3:16: `target.auth` is \"client-secrt\"; did you mean `client-secret`?"},
		"a format that is none":          {body("sources:\n  a: {path: a, format: docx9z}"), "4:24: `sources.a.format` is \"docx9z\"; known are csv, parquet, json, ndjson, xlsx, cmt"},
		"a number too great":             {body("load: {batch: 5000}"), "3:15: `load.batch` is 5000; the most is 1000"},
		"a number too small":             {body("limits: {requests: 0}"), "3:20: `limits.requests` is 0; the least is 1"},
		"a duration too short":           {body("load: {timeout: 5ms}"), "3:17: `load.timeout` is 5ms; the least is 1s"},
		"a secret key for a public one":  {body("snapshots: {encrypt: {recipients: [AGE-SECRET-KEY-1QQQ]}}"), "3:35: `snapshots.encrypt.recipients[0]` is a secret key; write the public key (age1...) and keep the secret one elsewhere"},
		"a snapshot every second":        {body("snapshots: {every: 1s}"), "3:20: `snapshots.every` is 1s; the least is 1m; 0 turns snapshots off"},
		"a name with capitals":           {"version: 1\nname: Acme CRM\n", "2:7: `name` is \"Acme CRM\", which does not match ^[a-z0-9_-]+$"},
		"no version":                     {"name: x\n", "1:1: `version` is missing; write `version: 1`"},
		"an empty needed text":           {body("work: \"\""), "3:7: `work` is missing; leave the key out to have its default"},
		"another version":                {"version: 2\nname: x\n", "1:10: `version` is 2; the most is 1"},
		"a variable that is not set":     {body("target:\n  tenant: ${NOT_SET}"), "4:11: `target.tenant` needs the environment variable NOT_SET, which is not set; set it before the command, as in: export NAME=value"},
		"one of several uses":            {body("target:\n  tenant: ${NOT_SET}\nsources:\n  a: ${NOT_SET}\n  b: ${NOT_SET}"), "4:11: `target.tenant` needs the environment variable NOT_SET, which is not set; set it before the command, as in: export NAME=value"},
		"one of several databases":       {body("sources:\n  a: {database: postgres, dsn: \"${NOT_SET}\", table: x}\n  b: {database: postgres, dsn: \"${NOT_SET}\", table: y}"), "4:32: `sources.a.dsn` needs the environment variable NOT_SET, which is not set; set it before the command, as in: export NAME=value"},
		"a broken reference":             {body("schema: a${b"), "3:9: `schema` has a ${ without a variable's name and }; $${ stands for ${ itself"},
		"a reference for a number":       {body("load: {batch: \"${N}\"}"), "3:15: `load.batch` takes no ${NAME}; only text does; a setting's own environment variable overrides it, such as DVMIGRATE_LOAD_BATCH"},
		"a secret in the file":           {body("target:\n  secret: hunter2"), "4:11: `target.secret` is written out in the file; a secret must come from the environment; write `secret: ${NAME}` and set the variable NAME; treat what was in the file as known to others"},
		"a token in the file":            {body("target: {token: eyJ0}"), "3:17: `target.token` is written out in the file; a secret must come from the environment; write `token: ${NAME}` and set the variable NAME; treat what was in the file as known to others"},
		"a number as secret":             {body("target: {secret: 12345}"), "3:18: `target.secret` is written out in the file; a secret must come from the environment; write `secret: ${NAME}` and set the variable NAME; treat what was in the file as known to others"},
		"a secret half written out":      {body("target: {secret: \"pre${N}\"}"), "3:18: `target.secret` is written out in the file; a secret must come from the environment; write `secret: ${NAME}` and set the variable NAME; treat what was in the file as known to others"},
		"a secret that is not set":       {body("target: {secret: \"${NOT_SET}\"}"), "3:18: `target.secret` needs the environment variable NOT_SET, which is not set; set it before the command, as in: export NAME=value"},
		"client-secret without a client": {body("target:\n  auth: client-secret\n  tenant: t\n  secret: ${N}"), "4:3: `target.client` is missing; target.auth client-secret needs it"},
		"a certificate that is missing":  {body("target:\n  {auth: certificate, tenant: t, client: c}"), "4:3: `target.certificate` is missing; target.auth certificate needs it"},
		"a secret that is not used":      {body("target: {secret: \"${N}\"}"), "3:9: `target.secret` is given but target.auth default does not use it; write `auth: client-secret`"},
		"auth none elsewhere":            {body("target:\n  url: https://a.example\n  auth: none"), "5:9: `target.auth` is none, which only serves an emulator on this machine; choose another way to sign in, such as default or client-secret"},
		"http to elsewhere":              {body("target: {url: \"http://a.example\"}"), "3:15: `target.url` is http to another machine, which sends tokens and data in the clear; use https"},
		"a password in the address":      {body("target: {url: \"https://u:pw@a.example\"}"), "3:15: `target.url` holds a user or password; sign-in settings are target.auth and those after it"},
		"an address with a path":         {body("target: {url: \"https://a.example/api/data/v9.2\"}"), "3:15: `target.url` goes on after the host; leave out what follows the host, /api/data too"},
		"users that are no list":         {body("target: {users: {client: a}}"), "3:17: `target.users` should be a list (- key: value) but is a mapping"},
		"a user that is no mapping":      {body("target: {users: [a]}"), "3:18: `target.users[0]` should be a mapping (key: value) but is text"},
		"an unknown key of a user":       {body("target:\n  users:\n    - {cleint: a}"), "5:8: unknown key `cleint`; did you mean `client`?"},
		"a user without a secret":        {body("target:\n  auth: client-secret\n  tenant: t\n  client: a\n  secret: ${N}\n  users:\n    - client: b"), "9:7: `target.users[0].secret` is missing; target.auth client-secret needs it"},
		"a user's secret in the file":    {body("target: {users: [{secret: hunter2}]}"), "3:27: `target.users[0].secret` is written out in the file; a secret must come from the environment; write `secret: ${NAME}` and set the variable NAME; treat what was in the file as known to others"},
		"one application twice":          {body("target:\n  url: https://a.example\n  client: ab\n  users: [{client: AB}]"), "6:20: `target.users[0]` signs in as the same user as `target`; limits are counted per user: give it an application (client) of its own"},
		"a user who is nobody":           {body("target:\n  url: https://a.example\n  users: [{auth: none}]"), "5:18: `target.users[0].auth` is none, which only serves an emulator on this machine; choose another way to sign in"},
		"two tokens for one user":        {body("target: {users: [{token: \"${TWO}\"}]}"), "3:26: `target.users[0].token` holds a blank or a comma; it is one token; a user each, or all of them in target.token"},
		"a bypass that is none":          {body("load: {headers: {bypass: [sync, all]}}"), "3:26: `load.headers.bypass[1]` is \"all\"; known are sync, async"},
		"a step that is no id":           {body("load: {headers: {bypass_steps: x}}"), "3:32: `load.headers.bypass_steps[0]` is \"x\", which does not match ^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"},
		"two users to act as":            {body("tables:\n  a:\n    headers: {impersonate: 3f8fad5b-d9cb-469f-a165-70867728950e, impersonate_user: 3f8fad5b-d9cb-469f-a165-70867728950e}"), "5:28: `tables.a.headers` names the user to act as twice, by impersonate and by impersonate_user; leave one out"},
		"an address that is none":        {body("target: {url: acme}"), "3:15: `target.url` is not an address; write it like https://acme.crm4.dynamics.com"},
		"an address of another kind":     {body("target: {url: \"ftp://a\"}"), "3:15: `target.url` starts with \"ftp\"; write it like https://acme.crm4.dynamics.com"},
		"a source without a path":        {body("sources:\n  a: {format: csv}"), "4:3: `sources.a.path` is missing; name the file, or several in a list"},
		"a source with nothing":          {body("sources:\n  a:"), "4:3: `sources.a.path` is missing; name the file, or several in a list"},
		"an empty path":                  {body("sources:\n  a: [x, \"\"]"), "4:6: `sources.a.path` holds an empty path"},
		"a source's name":                {body("sources:\n  my-file: a.csv"), "4:3: `my-file` is no name for an entry of `sources`; it must match ^[A-Za-z_][A-Za-z0-9_]*$"},
		"two sources alike":              {body("sources:\n  a: a.csv\n  A: b.csv"), "4:3: `sources.a` and `sources.A` differ in case only; SQL takes them for the same"},
		"a table's name":                 {body("tables:\n  Account: {batch: 5}"), "4:3: `Account` is no name for an entry of `tables`; it must match ^[a-z_][a-z0-9_]*$"},
		"a long quote":                   {body("sources:\n  a: {path: a, quote: ab}"), "4:23: `sources.a.quote` is \"ab\"; it may be one character (of one byte); leave it empty for none"},
		"a database without address":     {body("sources:\n  a: {database: postgres, table: x}"), "4:3: `sources.a.dsn` is missing; write `dsn: ${NAME}` and set the variable NAME to the database's address"},
		"a database without table":       {body("sources:\n  a: {database: sqlite, path: a.db}"), "4:3: `sources.a` needs a table or a query, and not both"},
		"a query in parallel, no key":    {body("sources:\n  a: {database: sqlite, path: a.db, query: SELECT 1, parallel: 2}"), "4:3: `sources.a.key` is missing; reading a query in parallel needs columns that ranges can be made of"},
		"an address with a password":     {body("sources:\n  a: {database: mysql, table: x, dsn: \"mysql://u:geheim@h/d\"}"), "4:39: `sources.a.dsn` is written out in the file; a secret must come from the environment; write `dsn: ${NAME}` and set the variable NAME; treat what was in the file as known to others"},
		"a csv setting for a database":   {body("sources:\n  a: {database: sqlite, path: a.db, table: x, quote: x}"), "4:54: `sources.a.quote` means nothing for database"},
		"an environment over http":       {body("sources:\n  a: {dataverse: \"http://acme.crm4.dynamics.com\", table: account}"), "4:18: `sources.a.dataverse` is http to another machine, which sends tokens and data in the clear; use https"},
		"an environment without a table": {body("sources:\n  a: {dataverse: \"https://acme.crm4.dynamics.com\"}"), "4:3: `sources.a.table` is missing; the logical name of the table, such as account"},
		"a share that is none":           {body("sources:\n  a: {path: a, max_bad: some}"), "4:25: `sources.a.max_bad` is \"some\", which does not match ^$|^[0-9]+([.][0-9]+)?%$"},
		"a format that is misspelt":      {body("sources:\n  a: {path: a, types: {x: {formt: \"%d\"}}}"), "4:28: unknown key `formt`; did you mean `format`?"},
		"a column twice":                 {body("sources:\n  a: {path: a, columns: [x, X]}"), "4:25: `sources.a.columns` names \"X\" twice, or not at all; names may not differ in case only"},
		"a csv setting for parquet":      {body("sources:\n  a: {path: a, format: parquet, delimiter: x}"), "4:44: `sources.a.delimiter` means nothing for parquet"},
		"types that are none":            {body("sources:\n  a: {path: a, types: guess}"), "4:23: `sources.a.types` is `guess`; write auto, text, or a mapping of column to type, such as {amount: \"DECIMAL(18,2)\"}"},
		"a rate below nothing":           {body("estimate: {rates: {account: {insert: -1}}}"), "3:38: `estimate.rates.account.insert` is -1; the least is 0"},
		"a rate that is no number":       {body("estimate: {rates: {account: {insert: .nan}}}"), "3:38: `estimate.rates.account.insert`: \".nan\" should be a number"},
		"an alert to nobody":             {body("alerts: {to: {a: {from: x@y.z}}}"), "3:15: `alerts.to.a` names 0 ways to call somebody, and needs one; write webhook, teams, smtp or command"},
		"an alert by two ways":           {body("alerts: {to: {a: {command: x, smtp: \"h:1\"}}}"), "3:15: `alerts.to.a` names 2 ways to call somebody, and needs one; write webhook, teams, smtp or command"},
		"a webhook in the file":          {body("alerts: {to: {a: {webhook: \"https://h/key\"}}}"), "3:28: `alerts.to.a.webhook` is written out in the file; a secret must come from the environment; write `webhook: ${NAME}` and set the variable NAME; treat what was in the file as known to others"},
		"a webhook that is none":         {body("alerts: {to: {a: {webhook: \"${N}\"}}}"), "3:28: what `alerts.to.a.webhook` stands for is not an address; set the variable to an address such as https://hooks.acme.example/x"},
		"a webhook in the clear":         {body("alerts: {to: {a: {teams: \"${PLAIN}\"}}}"), "3:26: what `alerts.to.a.teams` stands for is http to another machine, which sends the key in it in the clear; use https"},
		"a mail server without a port":   {body("alerts: {to: {a: {smtp: h, from: a@b, mail: a@b}}}"), "3:25: `alerts.to.a.smtp` is \"h\"; write HOST:PORT, such as smtp.acme.example:587"},
		"mail in the clear":              {body("alerts: {to: {a: {smtp: \"h:25\", tls: none, from: a@b, mail: a@b}}}"), "3:38: `alerts.to.a.tls` is none, which only serves a mail server on this machine; write starttls or tls"},
		"a mail user without a password": {body("alerts: {to: {a: {smtp: \"h:25\", user: u, from: a@b, mail: a@b}}}"), "3:15: `alerts.to.a` needs user and password, or neither; write `password: ${NAME}` and set the variable"},
		"mail to nobody":                 {body("alerts: {to: {a: {smtp: \"h:25\", from: a@b}}}"), "3:15: `alerts.to.a.mail` is missing; write who gets the mail: [ops@acme.example]"},
		"a mail to no address":           {body("alerts: {to: {a: {smtp: \"h:25\", from: a@b, mail: [ops]}}}"), "3:50: `alerts.to.a.mail[0]` is \"ops\", which is no mail address"},
		"an alert that is none":          {body("alerts: {to: {a: {command: x, only: [erors]}}}"), "3:37: `alerts.to.a.only[0]` is \"erors\"; did you mean `errors`?"},
		"a deadline that is none":        {body("alerts: {finish: sunday}"), "3:18: `alerts.finish` is \"sunday\"; write a moment such as 2026-12-06T22:00:00+01:00, a time from the load's begin such as 48h, or window"},
		"a share without a percent":      {body("alerts: {errors: \"5\"}"), "3:18: `alerts.errors` is \"5\", which does not match ^$|^[0-9]+([.][0-9]+)?%$"},
		"a log too small":                {body("log: {size: 1KB}"), "3:13: `log.size` is 1KB; the least is 1MiB"},
		"an anchor":                      {body("load: &l {batch: 5}"), "3:7: `load` uses an anchor or alias; write the value out"},
		"an alias":                       {body("stage: {temp: &l x}\nwork: *l"), "4:7: `work` uses an anchor or alias; write the value out"},
		"a merge key":                    {body("load:\n  <<: {batch: 5}"), "4:3: a key that is not plain text; anchors, merge keys and mappings as keys are not used here"},
		"a mapping as key":               {body("? {a: b}\n: c"), "3:3: a key that is not plain text; anchors, merge keys and mappings as keys are not used here"},
		"a second document":              {body("---\nversion: 1"), "3:1: a second YAML document; settings are one document; remove the line ---"},
		"a tab for indentation":          {body("load:\n\tbatch: 5"), "4:1: not YAML: found character that cannot start any token; YAML is indented with blanks, never with tabs; a text that begins with @, ` or % stands in quotes"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(tc.text), "", env("N=nnn", "TWO=a b", "PLAIN=http://h.example/x"), false)
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got %v", err)
			}
			want := File + ":" + tc.want
			for _, f := range faults {
				if f.Error() == want {
					return
				}
			}
			t.Errorf("got  %v\nwant %s", err, want)
		})
	}
}

func TestAllFaultsAtOnceInTheOrderOfTheFile(t *testing.T) {
	const text = `version: 1
nam: x
target:
  url: http://a.example
  secret: hunter2
load: {batch: many, timeout: 1}
stage:
  memry: 4GB
`
	_, err := parse([]byte(text), "", env("DVMIGRATE_LOAD_PARALLEL=few"), false)
	want := strings.Join([]string{
		"DVMIGRATE_LOAD_PARALLEL: `load.parallel`: \"few\" should be a whole number",
		"migration.yaml:1:1: `name` is missing; write `name: my-project`",
		"migration.yaml:2:1: unknown key `nam`; did you mean `name`?",
		"migration.yaml:4:8: `target.url` is http to another machine, which sends tokens and data in the clear; use https",
		"migration.yaml:5:11: `target.secret` is written out in the file; a secret must come from the environment; write `secret: ${NAME}` and set the variable NAME; treat what was in the file as known to others",
		"migration.yaml:6:15: `load.batch`: \"many\" should be auto or a whole number",
		"migration.yaml:6:30: `load.timeout`: \"1\" is not a duration such as 90s, 15m, 1h30m or 2d",
		"migration.yaml:8:3: unknown key `memry`; did you mean `memory`?",
	}, "\n")
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
}

func TestAnEmptyFileIsFaulty(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "null\n"} {
		_, err := parse([]byte(text), "", env(), false)
		if err == nil || !strings.Contains(err.Error(), "`version` is missing") || !strings.Contains(err.Error(), "`name` is missing") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestAFlagsFaultHasNoLine(t *testing.T) {
	c, err := parse([]byte(body("load: {batch: 5}")), "", env("DVMIGRATE_LOAD_PARALLEL=5"), false)
	if err != nil {
		t.Fatal(err)
	}
	c.Load.Batch, c.Load.Parallel = 9999, -1
	want := "`load.batch` is 9999; the most is 1000\n`load.parallel` is -1; the least is 0"
	if diff := cmp.Diff(want, fmt.Sprint(c.Validate())); diff != "" {
		t.Error(diff)
	}
	if err := Default().Validate(); err == nil {
		t.Error("defaults alone are valid")
	}
}

func TestFaultIsPlainData(t *testing.T) {
	_, err := parse([]byte(body("sorces: {}")), "", env(), false)
	want := Faults{{File: File, Line: 3, Column: 1, Key: "sorces", Message: "unknown key `sorces`", Hint: "did you mean `sources`?"}}
	if diff := cmp.Diff(want, err); diff != "" {
		t.Error(diff)
	}
	if _, err := json.Marshal(err); err != nil {
		t.Error(err)
	}
}

func TestASettingThatCannotBeReadIsNotAlsoMissing(t *testing.T) {
	for _, text := range []string{"version: 1\nname: 5\n", "version: one\nname: x\n", "a: [\n"} {
		_, err := parse([]byte(text), "", env(), false)
		var faults Faults
		if !errors.As(err, &faults) || len(faults) != 1 {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for url, valid := range map[string]bool{
		"https://acme.crm4.dynamics.com": true, "https://acme.crm4.dynamics.com/": true, "HTTPS://Acme.crm.dynamics.com:443": true,
		"http://localhost:8080": true, "http://127.0.0.1:9": true, "http://127.9.9.9": true, "http://[::1]:8080": true,
		"http://localhost.example": false, "http://10.0.0.1": false, "http://0.0.0.0": false, "https://": false, "https:acme": false, "https://a/x": false, "https://a?b": false, "https://a#b": false,
		"//a": false, "a.example": false, "https://a b": false,
	} {
		c, err := parse([]byte(body("target: {url: \""+url+"\"}")), "", env(), false)
		if (err == nil) != valid {
			t.Errorf("%s: %v", url, err)
		}
		if err == nil && strings.HasPrefix(url, "http:") {
			c.Target.Auth = "none"
			if err := c.Validate(); err != nil || !c.Target.Loopback() {
				t.Errorf("%s: auth none on this machine: %v", url, err)
			}
		}
	}
	if got := (Target{URL: "HTTPS://Acme.crm.Dynamics.com/"}).Environment(); got != "https://acme.crm.dynamics.com" {
		t.Errorf("Environment = %s", got)
	}
}

func TestMasksNeedAKeyAndDatesAPerson(t *testing.T) {
	for text, want := range map[string]string{
		"sources: {a: {path: x, mask: {b: name}}}":                                      "sources have masks, and there is no key for them",
		"sources: {a: {path: x, mask: {b: name}}}\nmasking: {off: true}":                "",
		"sources: {a: {path: x, mask: {b: name}}}\nmasking: {key_file: k}":              "",
		"sources: {a: {path: x, mask: {b: date}}}\nmasking: {key_file: k}":              "`sources.a.mask.b` does not say whose the dates are",
		"sources: {a: {path: x, mask: {b: {as: name, by: c}}}}\nmasking: {key_file: k}": "by and days are of dates only",
		"sources: {a: {path: x, mask: {b: name}}}\nmasking: {key: \"${SHORT}\"}":        "`masking.key` is shorter than 16 characters",
	} {
		_, err := parse([]byte(body(text)), "", env("SHORT=hunter2"), false)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", text, err, want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the message shows the key: %v", err)
		}
	}
}

// TestWhoLooksNeedsNoSecrets: the secrets that are missing are told when they are used; what is not
// secret, such as a path, has to be there as always.
func TestWhoLooksNeedsNoSecrets(t *testing.T) {
	text := body(`target: {url: https://acme.crm4.dynamics.com, auth: client-secret, tenant: a.com, client: 0f8fad5b-d9cb-469f-a165-70867728950e, secret: "${DVS}"}
masking: {key: "${MASK}"}
snapshots: {encrypt: {passphrase: "${PASS}"}}
alerts: {to: {duty: {webhook: "${HOOK}"}}}
sources: {people: {path: p.csv, mask: {name: name}}, bills: {database: postgres, dsn: "${PG}", table: bills}}`)
	if _, err := parse([]byte(text), "", env(), false); err == nil || strings.Count(err.Error(), "is not set") != 5 {
		t.Errorf("who works: %v", err)
	}
	c, err := parse([]byte(text), "", env(), true)
	if err != nil {
		t.Fatal(err)
	}
	for path, s := range map[string]Secret{"target.secret": c.Target.Secret, "masking.key": c.Masking.Key, "snapshots.encrypt.passphrase": c.Snapshots.Encrypt.Passphrase,
		"alerts.to.duty.webhook": c.Alerts.To["duty"].Webhook, "sources.bills.dsn": c.Sources["bills"].DSN} {
		if err := s.Check(path); s.IsZero() || s.Reveal() != "" || err == nil || !strings.Contains(err.Error(), "`"+path+"` needs the environment variable ") {
			t.Errorf("%s: zero %v, %v", path, s.IsZero(), err)
		}
	}
	if all := c.Secrets(); len(all) != 0 {
		t.Errorf("%d secrets to be taken out of texts", len(all))
	}
	if err := NewSecret("x").Check("target.secret"); err != nil {
		t.Error(err)
	}
	if _, err := parse([]byte(body("work: ${WORK}")), "", env(), true); err == nil || !strings.Contains(err.Error(), "WORK, which is not set") {
		t.Errorf("a path: %v", err)
	}
}
