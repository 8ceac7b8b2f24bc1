package config

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// Validate checks every setting and how they fit together. The error is a Faults with
// all that is wrong. Load has called it; whoever changes fields calls it again.
func (c *Config) Validate() error { return c.check().orNil() }

// checker collects faults with the place that each setting came from.
type checker struct {
	c       *Config
	changed map[string]bool // settings that differ from what Load left
	faults  Faults
}

func (c *Config) check() Faults {
	k := &checker{c: c, changed: map[string]bool{}}
	for path, value := range c.values() {
		k.changed[path] = !reflect.DeepEqual(value, c.loaded[path])
	}
	k.settings(reflect.ValueOf(c).Elem(), "")
	k.target()
	k.sources()
	k.masking()
	k.headers()
	k.limits()
	k.alerts()
	return k.faults
}

// fault adds a fault at the place of path or, where path was not given, of the mapping
// around it. A setting that was changed after Load has no place.
func (k *checker) fault(path, message, hint string) {
	f := Fault{Key: path, Message: message, Hint: hint}
	for at := path; !k.changed[path]; {
		if o, ok := k.c.origins[at]; ok {
			f.File, f.Line, f.Column = o.file, o.line, o.column
			break
		}
		if at == "" {
			break
		}
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	k.faults = append(k.faults, f)
}

// settings checks what the tags say of each field of the struct v.
func (k *checker) settings(v reflect.Value, path string) {
	for _, f := range fieldsOf(v.Type()) {
		value, at := v.Field(f.index), join(path, f.key)
		switch {
		case group(value.Type()):
			k.settings(value, at)
		case series(value.Type()):
			for i := range value.Len() {
				k.settings(value.Index(i), element(at, i))
			}
		case value.Kind() == reflect.Map:
			k.names(value, f, at)
		case value.Type() == listType:
			for i := range value.Len() {
				k.text(value.Index(i).String(), f, element(at, i))
			}
		case f.need && value.IsZero():
			k.fault(at, "`"+at+"` is missing", needHint(at))
		case value.Kind() == reflect.String:
			k.text(value.String(), f, at)
		default:
			k.bounds(value, f, at)
		}
	}
}

// text checks a text against the words that it may be, or its form.
func (k *checker) text(text string, f field, path string) {
	switch {
	case f.enum != nil:
		k.word(text, f.enum, path)
	case f.match != "" && !regexp.MustCompile(f.match).MatchString(text):
		k.fault(path, fmt.Sprintf("`%s` is %q, which does not match %s", path, text, f.match), "")
	}
}

func needHint(path string) string {
	switch path {
	case "version":
		return "write `version: 1`"
	case "name":
		return "write `name: my-project`"
	}
	return "leave the key out to have its default"
}

// names checks a mapping whose names are the user's own. DuckDB does not mind the case
// of names, so two may not differ in case alone.
func (k *checker) names(m reflect.Value, f field, path string) {
	pattern, seen := regexp.MustCompile(f.match), map[string]string{}
	for _, name := range sortedNames(m) {
		at := join(path, name)
		if !pattern.MatchString(name) {
			k.fault(at, fmt.Sprintf("`%s` is no name for an entry of `%s`; it must match %s", name, path, f.match), "")
		}
		if other, twice := seen[strings.ToLower(name)]; twice {
			k.fault(at, fmt.Sprintf("`%s` and `%s` differ in case only", at, join(path, other)), "SQL takes them for the same")
		}
		seen[strings.ToLower(name)] = name
		k.settings(m.MapIndex(reflect.ValueOf(name)), at)
	}
}

func (k *checker) word(word string, known []string, path string) {
	for _, w := range known {
		if w == word {
			return
		}
	}
	k.fault(path, fmt.Sprintf("`%s` is %q", path, word), didYouMean(word, known))
}

// bounds checks a number, size or duration against its least and greatest value.
func (k *checker) bounds(v reflect.Value, f field, path string) {
	if v.Type() == batchType && v.Int() == int64(AutoBatch) {
		return
	}
	least, most := reflect.New(v.Type()).Elem(), reflect.New(v.Type()).Elem()
	if v.Type() == sizeType {
		f.min = "0" // a size set by the caller may still be negative
	}
	if f.min != "" && setScalar(least, f.min) == nil && less(v, least) {
		k.fault(path, fmt.Sprintf("`%s` is %v; the least is %s", path, plain(v), f.min), "")
	}
	if f.max != "" && setScalar(most, f.max) == nil && less(most, v) {
		k.fault(path, fmt.Sprintf("`%s` is %v; the most is %s", path, plain(v), f.max), "")
	}
}

// less compares two numbers of one type; a float that is no number is less than all.
func less(a, b reflect.Value) bool {
	if a.CanInt() {
		return a.Int() < b.Int()
	}
	return !(a.Float() >= b.Float())
}

// needs names the settings that a way to sign in cannot do without.
var needs = map[string][]string{
	"client-secret": {"tenant", "client", "secret"},
	"certificate":   {"tenant", "client", "certificate"},
}

func (k *checker) target() {
	t := &k.c.Target
	if t.URL != "" {
		if message, hint := urlFault(t.URL); message != "" {
			k.fault("target.url", "`target.url` "+message, hint)
		}
	}
	if t.Auth == "none" && t.Token.IsZero() && t.URL != "" && !t.Loopback() {
		k.fault("target.auth", "`target.auth` is none, which only serves an emulator on this machine", "choose another way to sign in, such as default or client-secret")
	}
	if !t.Token.IsZero() {
		return // a ready token needs nothing else
	}
	seen := map[string]string{}
	for i, u := range t.SignIns() {
		at := "target"
		if i > 0 {
			at = element("target.users", i-1)
		}
		k.user(u, at, seen)
	}
}

// user checks one user that signs in; seen is where each application was met before.
func (k *checker) user(u User, path string, seen map[string]string) {
	if path != "target" && u.Auth == "none" && k.c.Target.URL != "" && !k.c.Target.Loopback() {
		k.fault(path+".auth", "`"+path+".auth` is none, which only serves an emulator on this machine", "choose another way to sign in")
	}
	if text := u.Token.Reveal(); text != "" {
		if strings.ContainsFunc(text, betweenTokens) {
			k.fault(path+".token", "`"+path+".token` holds a blank or a comma; it is one token", "a user each, or all of them in target.token")
		}
		return
	}
	given := map[string]bool{"tenant": u.Tenant != "", "client": u.Client != "", "secret": !u.Secret.IsZero(), "certificate": u.Certificate != ""}
	for _, key := range needs[u.Auth] {
		if !given[key] {
			k.fault(path+"."+key, fmt.Sprintf("`%s.%s` is missing; target.auth %s needs it", path, key, u.Auth), "")
		}
	}
	if u.Auth == "default" && given["secret"] {
		k.fault(path+".auth", "`"+path+".secret` is given but target.auth default does not use it", "write `auth: client-secret`")
	}
	id := strings.ToLower(u.Client)
	if other, twice := seen[id]; twice && (id != "" || k.c.Target.URL != "" && !k.c.Target.Loopback()) {
		k.fault(path+".client", fmt.Sprintf("`%s` signs in as the same user as `%s`", path, other), "limits are counted per user: give it an application (client) of its own")
	}
	seen[id] = path
}

// headers checks what is asked of the service for the records sent.
func (k *checker) headers() {
	check := func(h Headers, path string) {
		if h.Impersonate != "" && h.ImpersonateUser != "" {
			k.fault(path+".impersonate", "`"+path+"` names the user to act as twice, by impersonate and by impersonate_user", "leave one out")
		}
	}
	check(k.c.Load.Headers, "load.headers")
	for _, name := range sortedNames(reflect.ValueOf(k.c.Tables)) {
		check(k.c.Tables[name].Headers, "tables."+name+".headers")
	}
}

// urlFault says what is wrong with an environment's address. It does not repeat the
// address, which may hold a password.
func urlFault(text string) (message, hint string) {
	const example = "write it like https://acme.crm4.dynamics.com"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return "is not an address", example
	case u.User != nil:
		return "holds a user or password", "sign-in settings are target.auth and those after it"
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Sprintf("starts with %q", u.Scheme), example
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "is http to another machine, which sends tokens and data in the clear", "use https"
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "goes on after the host", "leave out what follows the host, /api/data too"
	}
	return "", ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Loopback reports whether the target is on this machine, as the emulator is.
func (t Target) Loopback() bool {
	u, err := url.Parse(t.URL)
	return err == nil && loopback(u.Hostname())
}

// Environment returns scheme and host of the address, in small letters and without a
// slash at the end: what requests and token audiences start with, and what a project
// is pinned to. It is "" if there is no address.
func (t Target) Environment() string {
	u, err := url.Parse(t.URL)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

// RequireTarget returns a Faults if the settings name no target. Validate lets that
// pass, because staging and estimating work without one.
func (c *Config) RequireTarget() error {
	if c.Target.URL != "" {
		return nil
	}
	k := &checker{c: c}
	k.fault("target.url", "`target.url` is missing", "write it under `target`, or set DVMIGRATE_TARGET_URL")
	return k.faults.orNil()
}

// places checks where snapshots go.
func (k *checker) places(s Snapshots) {
	if Distant(s.To) {
		k.fault("snapshots.to", "`snapshots.to` is not a folder", "snapshots are taken into a folder and copied on from there: put it into snapshots.also")
	}
	for i, also := range s.Also {
		path := element("snapshots.also", i)
		scheme, rest, distant := strings.Cut(also, "://")
		switch {
		case !distant:
		case scheme != "s3" && scheme != "azblob":
			k.fault(path, "`"+path+"` begins with "+scheme+"://", "places are folders, s3://BUCKET/PREFIX and azblob://ACCOUNT/CONTAINER/PREFIX")
		case strings.ContainsAny(rest, "?#@"):
			k.fault(path, "`"+path+"` has a ?, a # or an @", "no key goes into the name of a place; `dvmigrate guide snapshots` says where it goes")
		}
	}
	if _, ok := S3Server(s.S3.Endpoint); !ok && s.S3.Endpoint != "" {
		k.fault("snapshots.s3.endpoint", "`snapshots.s3.endpoint` is not of the form https://HOST or https://HOST:PORT", "the bucket goes into snapshots.also, keys into the environment")
	}
}

func (k *checker) limits() {
	l, s := k.c.Limits, k.c.Snapshots
	if l.Window > 24*time.Hour {
		k.fault("limits.window", "`limits.window` is longer than a day", "the window of service protection is minutes, 300s by default")
	}
	if s.Every > 0 && s.Every < time.Minute {
		k.fault("snapshots.every", fmt.Sprintf("`snapshots.every` is %s; the least is 1m", durationText(s.Every)), "0 turns snapshots off")
	}
	k.places(s)
	e := s.Encrypt
	for i, r := range e.Recipients {
		if path := element("snapshots.encrypt.recipients", i); strings.HasPrefix(strings.ToUpper(r), "AGE-SECRET-KEY-") {
			k.fault(path, "`"+path+"` is a secret key", "write the public key (age1...) and keep the secret one elsewhere")
		} else if !strings.HasPrefix(r, "age1") {
			k.fault(path, "`"+path+"` is not a public key of age (age1...)", "`dvmigrate snapshot keygen` makes one")
		}
	}
}
