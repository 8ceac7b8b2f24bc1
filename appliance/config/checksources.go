package config

import (
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

func (k *checker) sources() {
	for _, name := range sortedNames(reflect.ValueOf(k.c.Sources)) {
		s, at := k.c.Sources[name], "sources."+name
		if strings.HasPrefix(strings.ToLower(name), "target_") {
			k.fault(at, "`"+at+"` has a name that is kept for what is pulled from the target", "call it something else: names that begin with target_ are dvmigrate's own")
		}
		switch {
		case s.Database != "" || s.Dataverse != "":
			k.supply(s, at)
		case len(s.Path) == 0:
			k.fault(at+".path", "`"+at+".path` is missing", "name the file, or several in a list")
		}
		for _, p := range s.Path {
			if strings.TrimSpace(p) == "" {
				k.fault(at+".path", "`"+at+".path` holds an empty path", "")
			}
		}
		for _, c := range []struct{ key, value string }{{"quote", s.Quote}, {"escape", s.Escape}} {
			if len(c.value) > 1 {
				k.fault(at+"."+c.key, fmt.Sprintf("`%s.%s` is %q; it may be one character (of one byte)", at, c.key, c.value), "leave it empty for none")
			}
		}
		k.masks(s, at)
		k.columns(s, at)
		k.feed(s, at)
		k.csvOnly(s, at)
	}
}

// feed checks that a source of changes says how they are merged.
func (k *checker) feed(s Source, path string) {
	changes := s.Feed == "changes" || s.Feed == "tombstones"
	switch {
	case changes && s.Delta:
		k.fault(path+".feed", "`"+path+".feed` does not go with delta, by which the environment tells itself what has changed", "leave feed out")
	case changes && len(s.RowKey) == 0:
		k.fault(path+".row_key", "`"+path+".row_key` is missing: changes are merged by it", "name the columns that tell one row from all others")
	case !changes && len(s.RowKey) > 0:
		k.fault(path+".row_key", "`"+path+".row_key` means nothing where each reading delivers all rows", "write feed: changes, or feed: tombstones")
	case s.Feed == "tombstones" && strings.TrimSpace(s.Tombstone) == "":
		k.fault(path+".tombstone", "`"+path+".tombstone` is missing", "write the SQL condition of a row that says its namesake is gone, or feed: changes")
	case s.Feed != "tombstones" && s.Tombstone != "":
		k.fault(path+".tombstone", "`"+path+".tombstone` is given, and feed is "+s.Feed, "write feed: tombstones")
	}
	k.past(s, path, changes)
}

// past checks how a feed tells what it has read before.
func (k *checker) past(s Source, path string, changes bool) {
	switch {
	case s.Watermark != "" && s.Database == "":
		k.fault(path+".watermark", "`"+path+".watermark` means nothing for a source that is not a database", "of files, read_once: true reads the new ones alone")
	case s.Watermark != "" && s.Feed != "changes":
		k.fault(path+".watermark", "`"+path+".watermark` is given, and feed is "+s.Feed+": rows past a watermark are new or changed ones", "write feed: changes")
	case s.Watermark == "" && s.Overlap != "":
		k.fault(path+".overlap", "`"+path+".overlap` means nothing without a watermark", "name the column with watermark")
	case s.ReadOnce && len(s.Path) == 0 || s.ReadOnce && s.Database != "":
		k.fault(path+".read_once", "`"+path+".read_once` means nothing for a source without files", "of a database, watermark reads the new rows alone")
	case s.ReadOnce && !changes:
		k.fault(path+".read_once", "`"+path+".read_once` means nothing where each reading delivers all rows", "write feed: changes, or feed: tombstones")
	}
	if err := overlap(s.Overlap); err != nil {
		k.fault(path+".overlap", "`"+path+".overlap`: "+err.Error(), "")
	}
}

// overlap says what is wrong with a setting that is a duration or a whole number.
func overlap(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	d, err2 := time.ParseDuration(text)
	if text == "" || err == nil && n >= 0 || err2 == nil && d >= 0 {
		return nil
	}
	return fmt.Errorf("%q is neither a duration such as 30m nor a whole number such as 1000", text)
}

// columns checks that the names given to a source's columns can be told apart.
func (k *checker) columns(s Source, path string) {
	seen := map[string]bool{}
	for _, c := range s.Columns {
		low := strings.ToLower(c)
		if c == "" || seen[low] {
			k.fault(path+".columns", fmt.Sprintf("`%s.columns` names %q twice, or not at all", path, c), "names may not differ in case only")
		}
		seen[low] = true
	}
}

// forms are the words at the end of a setting's description that bind it to one form.
var forms = []string{"csv", "xlsx", "dataverse"}

// csvOnly reports settings that mean nothing in the source's form.
func (k *checker) csvOnly(s Source, path string) {
	form := s.form()
	given, usual := reflect.ValueOf(s), withDefaults(reflect.TypeFor[Source]())
	for _, f := range fieldsOf(given.Type()) {
		value := given.Field(f.index)
		if reflect.DeepEqual(value.Interface(), usual.Field(f.index).Interface()) || value.Kind() == reflect.Slice && value.Len() == 0 {
			continue
		}
		means := true
		for _, only := range forms {
			if strings.HasSuffix(f.doc, only+" only.") && form != only && (form != "" || only == "dataverse") {
				means = form == "xlsx" && (f.key == "header" || f.key == "columns")
			}
		}
		if f.key == "types" && form == "cmt" {
			means = false
		}
		if !means {
			k.fault(join(path, f.key), fmt.Sprintf("`%s` means nothing for %s", join(path, f.key), first(form, "a file")), "")
		}
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// form is what the source's rows come in; "" if its file's name tells.
func (s Source) form() string {
	switch {
	case s.Database != "":
		return "database"
	case s.Dataverse != "":
		return "dataverse"
	}
	return s.Format
}

// supply checks a source that is a database or an environment.
func (k *checker) supply(s Source, path string) {
	missing := func(key, hint string) {
		k.fault(join(path, key), fmt.Sprintf("`%s` is missing", join(path, key)), hint)
	}
	switch {
	case s.Database != "" && s.Dataverse != "":
		k.fault(path+".dataverse", "`"+path+"` is a database and an environment", "one source is one of them")
	case s.Dataverse != "":
		if message, hint := urlFault(s.Dataverse); message != "" {
			k.fault(path+".dataverse", "`"+path+".dataverse` "+message, hint)
		}
		if s.Table == "" {
			missing("table", "the logical name of the table, such as account")
		}
		if s.Auth == "none" && !loopback(hostOf(s.Dataverse)) {
			k.fault(path+".auth", "`"+path+".auth` is none, which only serves an emulator on this machine", "choose another way to sign in")
		}
	case s.Database == "sqlite":
		if len(s.Path) != 1 {
			missing("path", "the SQLite file")
		}
	case s.DSN.IsZero():
		missing("dsn", "write `dsn: ${NAME}` and set the variable NAME to the database's address")
	}
	if s.Database != "" && (s.Table == "") == (s.Query == "") {
		k.fault(path+".table", "`"+path+"` needs a table or a query, and not both", "")
	}
	if s.Query != "" && s.Parallel > 1 && len(s.Key) == 0 {
		missing("key", "reading a query in parallel needs columns that ranges can be made of")
	}
	if len(s.Path) > 0 && s.Database != "sqlite" {
		k.fault(path+".path", "`"+path+".path` means nothing for a source that is no file", "")
	}
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
