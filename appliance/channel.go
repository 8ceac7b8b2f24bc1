package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/progress"
)

// Call is an alert as it is sent: what webhooks and commands get as JSON.
type Call struct {
	Version int    `json:"version"`
	Project string `json:"project"`
	Target  string `json:"target,omitempty"` // the environment's address
	Host    string `json:"host"`             // that runs the load
	Command string `json:"command"`          // that runs: load, delta
	Test    bool   `json:"test,omitempty"`   // of `dvmigrate alert test`: nothing has happened
	progress.Alert
}

// title is a call in a line.
func (c Call) title() string {
	state := map[progress.AlertState]string{progress.Firing: "alert", progress.Resolved: "resolved", progress.Notice: "notice"}[c.State]
	if c.Test {
		state = "test"
	}
	return fmt.Sprintf("%s: %s (%s)", c.Project, c.Rule, state)
}

// text is a call as a person reads it.
func (c Call) text() string {
	lines := []string{c.Text}
	if c.State == progress.Resolved {
		lines = append(lines, fmt.Sprintf("It had held since %s.", c.Since.Local().Format("2006-01-02 15:04 MST")))
	}
	lines = append(lines, fmt.Sprintf("dvmigrate %s on %s", c.Command, c.Host))
	if c.Target != "" {
		lines[len(lines)-1] += ", target " + c.Target
	}
	return strings.Join(lines, "\n")
}

// channel is one way to call somebody. send tries once and gives what was answered, which
// holds nothing that the channel keeps secret.
type channel interface {
	send(ctx context.Context, c Call) (answer string, err error)
}

// refusal is an answer that says no. Where again is not set, asking again does not help.
type refusal struct {
	answer string
	again  bool
	after  time.Duration // asked for; 0 = not said
}

func (r *refusal) Error() string { return r.answer }

// maxAnswer is how much of an answer is kept.
const maxAnswer = 500

// newChannel makes the channel that the settings describe.
func newChannel(c config.Channel) channel {
	switch {
	case !c.Webhook.IsZero():
		return &hook{address: c.Webhook.Reveal(), authorization: c.Authorization.Reveal(), body: func(c Call) any { return c }}
	case !c.Teams.IsZero():
		return &hook{address: c.Teams.Reveal(), body: func(c Call) any { return teamsCard(c) }}
	case c.SMTP != "":
		return &mailbox{c}
	}
	return &program{c.Command}
}

// hook sends JSON by POST. Its address is a secret: whoever has it can post.
type hook struct {
	address, authorization string
	body                   func(Call) any
}

var hookClient = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (h *hook) send(ctx context.Context, c Call) (string, error) {
	body, err := json.Marshal(h.body(c))
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.address, bytes.NewReader(body))
	if err != nil {
		return "", errors.New("the address cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "dvmigrate")
	if h.authorization != "" {
		req.Header.Set("Authorization", h.authorization)
	}
	res, err := hookClient.Do(req)
	if err != nil {
		return "", h.unreached(ctx, err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 16<<10)) // what came of it says enough
	answer := strings.TrimSpace("HTTP " + res.Status + " " + readable(h.hide(string(text))))
	if res.StatusCode >= 200 && res.StatusCode <= 299 {
		return answer, nil
	}
	r := &refusal{answer: answer, again: res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500}
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
		r.after = time.Duration(n) * time.Second
	}
	return "", r
}

// unreached is an error of the network, without the address.
func (h *hook) unreached(ctx context.Context, err error) error {
	host := ""
	if u, err := url.Parse(h.address); err == nil {
		host = u.Host
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer from %s in %v", host, callTime)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%s: %s", host, h.hide(err.Error()))
}

func (h *hook) hide(text string) string {
	secrets := []string{h.address}
	if u, err := url.Parse(h.address); err == nil {
		secrets = append(secrets, u.RequestURI(), u.RawQuery)
	}
	for _, s := range append(secrets, h.authorization) {
		if len(s) > 1 {
			text = strings.ReplaceAll(text, s, hidden)
		}
	}
	return text
}

// readable is the beginning of an answer on one line.
func readable(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > maxAnswer {
		text = strings.ToValidUTF8(text[:maxAnswer], "") + "..."
	}
	return text
}

// teamsCard is what a Teams workflow with the trigger "When a Teams webhook request is
// received" takes: a message with one adaptive card
// (learn.microsoft.com/connectors/teams, Send a card; adaptivecards.io 1.4).
func teamsCard(c Call) any {
	type object = map[string]any
	colour := map[progress.AlertState]string{progress.Firing: "attention", progress.Resolved: "good", progress.Notice: "accent"}[c.State]
	facts := []object{{"title": "Project", "value": c.Project}, {"title": "Time", "value": c.Time.UTC().Format("2006-01-02 15:04:05 UTC")}, {"title": "Machine", "value": c.Host}}
	if c.Target != "" {
		facts = append(facts, object{"title": "Target", "value": c.Target})
	}
	card := object{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "msteams": object{"width": "Full"},
		"body": []object{
			{"type": "TextBlock", "text": c.title(), "size": "large", "weight": "bolder", "color": colour, "wrap": true},
			{"type": "TextBlock", "text": c.Text, "wrap": true},
			{"type": "FactSet", "facts": facts},
		},
	}
	return object{"type": "message", "attachments": []object{{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": card}}}
}

// program runs a command, without a shell, with the call on its standard input. Variables
// that hold secrets of the settings are not handed on.
type program struct{ args []string }

func (p *program) send(ctx context.Context, c Call) (string, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	run := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	run.Stdin = bytes.NewReader(append(body, '\n'))
	run.Env = harmlessEnv(os.Environ())
	run.WaitDelay = time.Second // for what it has left running with our pipe
	var out bytes.Buffer
	run.Stdout, run.Stderr = &limited{to: &out}, &limited{to: &out}
	err = run.Run()
	said := readable(out.String())
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("%s did not end in %v %s", p.args[0], callTime, said)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, exec.ErrNotFound):
		return "", &refusal{answer: fmt.Sprintf("%s: %v", p.args[0], reasonOf(err))}
	case err != nil:
		return "", errors.New(strings.TrimSpace(fmt.Sprintf("%s: %v %s", p.args[0], err, said)))
	}
	return strings.TrimSpace("exit status 0 " + said), nil
}

// limited takes the first bytes of what a program says, and lets it say the rest.
type limited struct{ to *bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	l.to.Write(b[:min(len(b), max(0, 4*maxAnswer-l.to.Len()))])
	return len(b), nil
}

// harmlessEnv is an environment without what signs in to the target, as far as its names
// tell: a command to call somebody needs none of it.
func harmlessEnv(all []string) []string {
	var out []string
	for _, v := range all {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "DVMIGRATE_") && !strings.HasPrefix(name, "AZURE_") && !strings.HasPrefix(name, "AWS_") {
			out = append(out, v)
		}
	}
	return out
}
