package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// Logging is what is written down while a command works on the project.
type Logging struct {
	File   string `json:"file" doc:"File of the log; - for standard error, where a service manager collects it; none for no log; when left out, dvmigrate.log in the work folder."`
	Level  string `json:"level" enum:"debug,info,warn,error" doc:"The least that is written: every request that failed is a warn."`
	Format string `json:"format" enum:"text,json" doc:"Form of a line."`
	Size   Size   `json:"size" doc:"A file that has grown to so much is put aside and a new one begun; 1MiB or more."`
	Keep   int    `json:"keep" min:"1" max:"1000" doc:"How many files that were put aside stay; they are compressed."`
}

// Words that Logging.File may be besides a path.
const (
	LogNone   = "none"
	LogStderr = "-"
)

// LogFile is the path of the log, LogNone or LogStderr.
func (c *Config) LogFile() string {
	switch c.Log.File {
	case LogNone, LogStderr:
		return c.Log.File
	case "":
		return c.Path(c.Work + "/dvmigrate.log")
	}
	return c.Path(c.Log.File)
}

// Alerts say when somebody is called while a load runs, and how.
type Alerts struct {
	To        map[string]Channel `json:"to" match:"^[a-z0-9_-]+$" doc:"Who is called, each under a name of your own; nobody when left out."`
	Errors    string             `json:"errors" match:"^$|^[0-9]+([.][0-9]+)?%$" doc:"Share of the records of the last five minutes that failed, such as 5%; empty for no alert."`
	Rate      string             `json:"rate" match:"^$|^[0-9]+([.][0-9]+)?%$" doc:"Records a second of the last five minutes, as a share of the median of the same table in the same load; with less somebody is called. Empty for no alert."`
	Still     time.Duration      `json:"still" min:"0s" doc:"How long nothing may move; 0 for no alert."`
	Throttled string             `json:"throttled" match:"^$|^[0-9]+([.][0-9]+)?%$" doc:"Share of the last five minutes in which the service let no request through; empty for no alert."`
	Disk      Size               `json:"disk" doc:"What has to be left on the disk of the work folder; 0 for no alert."`
	Snapshot  time.Duration      `json:"snapshot" min:"0s" doc:"How old the newest snapshot may be; 0 for three times snapshots.every."`
	Finish    string             `json:"finish" doc:"By when the load has to be done: a moment such as 2026-12-06T22:00:00+01:00, a time from its begin such as 48h, or window for that of estimate.window; empty for no alert."`
	Token     time.Duration      `json:"token" min:"0s" doc:"How long before a token ends that cannot be had anew; 0 for no alert."`
	Schema    time.Duration      `json:"schema" min:"0s" doc:"How often the target's tables are compared with those that the mapping was checked against; 0 for never."`
	Identity  bool               `json:"identity" doc:"Whether somebody is called when a user signs in that never loaded this project."`
	Ended     bool               `json:"ended" doc:"Whether somebody is told that the load has ended, and how."`
}

// Channel is one way to call somebody: a webhook, Teams, mail or a command.
type Channel struct {
	Webhook       Secret   `json:"webhook" doc:"Address that gets each alert as JSON by POST; only as ${NAME}, never written out."`
	Authorization Secret   `json:"authorization" doc:"The header Authorization of a webhook, such as Bearer and a token; only as ${NAME}, never written out."`
	Teams         Secret   `json:"teams" doc:"Address of a Teams workflow (When a Teams webhook request is received), which gets an adaptive card; only as ${NAME}, never written out."`
	SMTP          string   `json:"smtp" doc:"Mail server as HOST:PORT."`
	TLS           string   `json:"tls" enum:",starttls,tls,none" doc:"starttls, tls from the first byte, or none (on this machine only); when left out, tls on port 465, else starttls. smtp only."`
	User          string   `json:"user" doc:"Who signs in to the mail server; nobody when left out. smtp only."`
	Password      Secret   `json:"password" doc:"The user's password; only as ${NAME}, never written out. smtp only."`
	From          string   `json:"from" doc:"Who the mail is from. smtp only."`
	Mail          []string `json:"mail" doc:"Who gets the mail. smtp only."`
	Command       []string `json:"command" doc:"Program and its arguments, run without a shell; it finds the alert as JSON on its standard input."`
	Only          []string `json:"only" enum:"errors,rate,still,throttled,disk,snapshot,finish,token,schema,identity,ended" doc:"The alerts that this one gets; all when left out."`
}

// Kind is the way in a word.
func (c Channel) Kind() string {
	switch {
	case !c.Webhook.IsZero():
		return "webhook"
	case !c.Teams.IsZero():
		return "teams"
	case c.SMTP != "":
		return "smtp"
	}
	return "command"
}

// ErrorShare is Errors as a number from 0 to 1; 0 where there is no alert.
func (a Alerts) ErrorShare() float64 { return share(a.Errors) }

// RateShare is Rate as a number from 0 to 1; 0 where there is no alert.
func (a Alerts) RateShare() float64 { return share(a.Rate) }

// ThrottledShare is Throttled as a number from 0 to 1; 0 where there is no alert.
func (a Alerts) ThrottledShare() float64 { return share(a.Throttled) }

// planned is the word for the window that the load is planned for.
const planned = "window"

// Deadline is when a load that began then has to be done, where window is the planned one;
// zero: never. Validate has seen that the setting can be read.
func (a Alerts) Deadline(begun time.Time, window time.Duration) time.Time {
	if a.Finish == planned && window > 0 {
		return begun.Add(window)
	}
	if at, err := time.Parse(time.RFC3339, a.Finish); err == nil {
		return at
	}
	if d, err := parseDuration(a.Finish); err == nil && d > 0 {
		return begun.Add(d)
	}
	return time.Time{}
}

// SnapshotAge is how old the newest snapshot may be; 0: no matter.
func (c *Config) SnapshotAge() time.Duration {
	if c.Alerts.Snapshot > 0 {
		return c.Alerts.Snapshot
	}
	return 3 * c.Snapshots.Every
}

// alerts checks log and alerts.
func (k *checker) alerts() {
	a := k.c.Alerts
	if k.c.Log.Size < 1<<20 {
		k.fault("log.size", fmt.Sprintf("`log.size` is %s; the least is 1MiB", k.c.Log.Size), "")
	}
	if a.Finish != "" && a.Finish != "0" && a.Finish != planned && a.Deadline(time.Unix(0, 0), 0).IsZero() {
		k.fault("alerts.finish", fmt.Sprintf("`alerts.finish` is %q", a.Finish), "write a moment such as 2026-12-06T22:00:00+01:00, a time from the load's begin such as 48h, or window")
	}
	for _, name := range sortedNames(reflect.ValueOf(a.To)) {
		k.channel(a.To[name], "alerts.to."+name)
	}
}

// channel checks that a channel is of one kind and has what that needs. A secret that the
// file has counts even where its variable is empty, as while a project is restored.
func (k *checker) channel(c Channel, path string) {
	kinds := 0
	has := func(s Secret, key string) bool {
		_, written := k.c.origins[path+"."+key]
		return written || !s.IsZero()
	}
	for _, given := range []bool{has(c.Webhook, "webhook"), has(c.Teams, "teams"), c.SMTP != "", len(c.Command) > 0} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		k.fault(path, fmt.Sprintf("`%s` names %d ways to call somebody, and needs one", path, kinds), "write webhook, teams, smtp or command")
		return
	}
	k.hook(c.Webhook, path+".webhook")
	k.hook(c.Teams, path+".teams")
	if has(c.Authorization, "authorization") && !has(c.Webhook, "webhook") {
		k.fault(path+".authorization", "`"+path+".authorization` is of a webhook only", "")
	}
	if len(c.Command) > 0 && strings.TrimSpace(c.Command[0]) == "" {
		k.fault(path+".command", "`"+path+".command` names no program", "write a list: [/usr/local/bin/page, --now]")
	}
	if c.SMTP != "" {
		k.mail(c, path, has(c.Password, "password"))
	} else if c.TLS+c.User+c.From != "" || len(c.Mail) > 0 || has(c.Password, "password") {
		k.fault(path, "`"+path+"` has settings of a mail, and no smtp", "tls, user, password, from and mail go with smtp")
	}
}

// hook checks an address that is a secret, and does not repeat it.
func (k *checker) hook(address Secret, path string) {
	if address.IsZero() || address.absent != "" {
		return
	}
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		k.fault(path, "what `"+path+"` stands for is not an address", "set the variable to an address such as https://hooks.acme.example/x")
	} else if u.Scheme == "http" && !loopback(u.Hostname()) {
		k.fault(path, "what `"+path+"` stands for is http to another machine, which sends the key in it in the clear", "use https")
	}
}

// mail checks a channel that sends mail.
func (k *checker) mail(c Channel, path string, password bool) {
	host, port, err := net.SplitHostPort(c.SMTP)
	if err != nil || host == "" || port == "" {
		k.fault(path+".smtp", fmt.Sprintf("`%s.smtp` is %q", path, c.SMTP), "write HOST:PORT, such as smtp.acme.example:587")
	}
	if c.TLS == "none" && !loopback(host) {
		k.fault(path+".tls", "`"+path+".tls` is none, which only serves a mail server on this machine", "write starttls or tls")
	}
	if (c.User == "") == password {
		k.fault(path+".password", "`"+path+"` needs user and password, or neither", "write `password: ${NAME}` and set the variable")
	}
	if _, err := mail.ParseAddress(c.From); err != nil {
		k.fault(path+".from", fmt.Sprintf("`%s.from` is %q, which is no mail address", path, c.From), "")
	}
	if len(c.Mail) == 0 {
		k.fault(path+".mail", "`"+path+".mail` is missing", "write who gets the mail: [ops@acme.example]")
	}
	for i, to := range c.Mail {
		if _, err := mail.ParseAddress(to); err != nil {
			k.fault(element(path+".mail", i), fmt.Sprintf("`%s` is %q, which is no mail address", element(path+".mail", i), to), "")
		}
	}
}
