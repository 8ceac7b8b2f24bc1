package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

// holder keeps a secret where fmt cannot call its methods.
type holder struct{ c Config }

func TestNoFormShowsASecret(t *testing.T) {
	const secret = "hunter2-swordfish"
	c, err := parse([]byte(example(t, "full.yaml")), "/p", env("TENANT=t", "DV_SECRET="+secret, "DV_SECRET2="+secret, "TOKEN3="+secret, "READY_TOKEN="+secret, "PASSPHRASE="+secret, "SRC_DSN="+secret, "SRC_SECRET="+secret, "SRC_TOKEN="+secret, "MASK_KEY="+secret, "HOOK=https://h/"+secret, "HOOK_KEY="+secret), false)
	if err != nil {
		t.Fatal(err)
	}
	var forms []string
	for _, v := range []any{c, *c, c.Target, &c.Target, c.Target.Secret, &c.Target.Secret, holder{*c}, []Secret{c.Target.Token}, c.values()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
			forms = append(forms, fmt.Sprintf(verb, v))
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		forms = append(forms, string(text))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		forms = append(forms, log.String())
	}
	for _, form := range forms {
		if strings.Contains(form, secret) || strings.Contains(form, fmt.Sprintf("%x", secret)) {
			t.Errorf("a form shows the secret: %s", form)
		}
	}
	if got := c.Target.Secret.Reveal(); got != secret {
		t.Errorf("Reveal = %q", got)
	}
	if text := c.String(); !strings.Contains(text, "secret: (hidden)") || !strings.Contains(text, "url: https://acme.crm4.dynamics.com/") {
		t.Errorf("String shows too little:\n%s", text)
	}
}

func TestFaultsDoNotRepeatASecret(t *testing.T) {
	for _, text := range []string{"target: {secret: hunter2}", "target: {token: [hunter2]}", "target: {url: \"https://u:hunter2@a\"}", "target: {secret: {a: hunter2}}"} {
		_, err := parse([]byte(body(text)), "", env(), false)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// withoutSecrets takes the lines of secrets that are not there out of shown settings:
// in a file they would count as written out.
func withoutSecrets(shown string) string {
	return regexp.MustCompile(`(?m)^ *(secret|token|passphrase|dsn|key|webhook|authorization|teams|password): ""\n`).ReplaceAllString(shown, "")
}

func TestShownSettingsAreReadBackTheSame(t *testing.T) {
	c, err := parse([]byte(strings.NewReplacer("  secret: ${DV_SECRET}\n", "", "  token: ${READY_TOKEN}\n", "", "client-secret", "default",
		`, secret: "${DV_SECRET2}"`, "", "      token: ${TOKEN3}\n", "", "    passphrase: ${PASSPHRASE}\n", "",
		`postgres, dsn: "${SRC_DSN}"`, "sqlite, path: x.db", "    secret: ${SRC_SECRET}\n", "", "    token: ${SRC_TOKEN}\n", "", `key: "${MASK_KEY}", `, "",
		"    duty: {webhook: \"${HOOK}\", authorization: \"${HOOK_KEY}\", only: [errors, still]}\n    team: {teams: \"${HOOK}\"}\n", "", `user: dv, password: "${HOOK_KEY}", `, "").Replace(example(t, "full.yaml"))), "/p", env("TENANT=t"), false)
	if err != nil {
		t.Fatal(err)
	}
	shown := withoutSecrets(c.String())
	again, err := parse([]byte(shown), "/p", env(), false)
	if err != nil {
		t.Fatalf("%v\n%s", err, shown)
	}
	if again.String() != c.String() {
		t.Errorf("read back as\n%s\nfrom\n%s", again, shown)
	}
}

func TestBriefSettingsSayWhatWasSaidAndWhatHolds(t *testing.T) {
	c, err := parse([]byte(body("sources: {a: {path: a.csv, header: false, max_bad_lines: 0}, b: b.csv}\nestimate: {buffer: 0}\ntarget: {url: \"https://acme.crm4.dynamics.com\", auth: client-secret, tenant: t, client: c, secret: \"${S}\"}")), "", env("S=hunter2hunter2"), false)
	if err != nil {
		t.Fatal(err)
	}
	text := c.Brief()
	for _, want := range []string{"header: false", "max_bad_lines: 0", "buffer: 0\n", "requests: 6000", "secret: (hidden)", "  b:\n    path:\n      - b.csv\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	for _, not := range []string{"encoding", "sheet", "hunter2", "certificate", "tables:", "dsn"} {
		if strings.Contains(text, not) {
			t.Errorf("has %q:\n%s", not, text)
		}
	}
}
