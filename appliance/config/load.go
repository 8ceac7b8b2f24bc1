package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// File is the name of the settings' file in the project folder.
const File = "migration.yaml"

// maxFile is the most that a settings file may hold, in bytes.
const maxFile = 1 << 20

// errNoFile means that the project folder has no migration.yaml.
var errNoFile = errors.New("no " + File)

// Load reads the settings of the project in dir, with the defaults below and the
// environment above them, and validates them. env looks up an environment variable,
// as os.LookupEnv does. The error is a Faults with everything that is wrong, wraps
// errNoFile, or says why the file cannot be read.
func Load(dir string, env func(string) (string, bool)) (*Config, error) {
	return load(dir, env, false)
}

// LoadToLook is Load for who only looks at a project, in a terminal or on a machine that does not have
// its secrets: those that are missing are told by Secret.Check when somebody is about to use them.
func LoadToLook(dir string, env func(string) (string, bool)) (*Config, error) {
	return load(dir, env, true)
}

func load(dir string, env func(string) (string, bool), looking bool) (*Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find project folder: %w", err)
	}
	name := filepath.Join(dir, File)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s: `dvmigrate init` makes one, -C DIR names another folder", errNoFile, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if info.Size() > maxFile {
		return nil, Faults{{File: File, Message: fmt.Sprintf("%s has %d bytes; it may have %d", File, info.Size(), maxFile)}}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return parse(data, dir, env, looking)
}

// parse does what Load does, with the file's content at hand.
func parse(data []byte, dir string, env func(string) (string, bool), looking bool) (*Config, error) {
	c := Default()
	c.Dir = dir
	d := &decoder{file: File, env: env, looking: looking, origins: map[string]origin{}, unset: map[string]bool{}, unread: map[string]bool{}}
	d.document(data, reflect.ValueOf(c).Elem())
	d.environment(c)
	c.origins = d.origins
	c.loaded = c.values()

	faults, faulty := d.faults, d.unread
	for _, f := range d.faults {
		faulty[f.Key] = true
	}
	for _, f := range c.check() {
		if !faulty[f.Key] && !faulty[""] { // a setting that could not be read is not also missing
			faults = append(faults, f)
		}
	}
	if err := faults.orNil(); err != nil {
		return nil, err
	}
	return c, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// document reads the whole file into v.
func (d *decoder) document(data []byte, v reflect.Value) {
	var doc, more yaml.Node
	reader := yaml.NewDecoder(bytes.NewReader(data))
	switch err := reader.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return // an empty file; check says what is missing
	case err != nil:
		d.faults = append(d.faults, syntaxFault(d.file, err))
		return
	}
	d.origins[""] = origin{d.file, 1, 1}
	d.value(doc.Content[0], v, field{}, "")
	switch err := reader.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.faults = append(d.faults, syntaxFault(d.file, err))
	default:
		d.fault(&more, "", "a second YAML document", "settings are one document; remove the line ---")
	}
}

// syntaxFault takes the line out of an error of the YAML parser.
func syntaxFault(file string, err error) Fault {
	f := Fault{File: file, Message: "not YAML: " + err.Error()}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		f.Message = "not YAML: " + err.Error()[len(m[0]):]
		if line, err := strconv.Atoi(m[1]); err == nil {
			f.Line, f.Column = line, 1
		}
	}
	if strings.Contains(f.Message, "cannot start any token") {
		f.Hint = "YAML is indented with blanks, never with tabs; a text that begins with @, ` or % stands in quotes"
	}
	return f
}

// environment overlays the settings with their environment variables.
func (d *decoder) environment(c *Config) {
	for _, l := range leaves(reflect.ValueOf(c).Elem(), "", true) {
		name := l.variable()
		if name == "" {
			continue
		}
		text, ok := d.env(name)
		if !ok || text == "" {
			continue
		}
		d.origins[l.path] = origin{file: name}
		if err := setScalar(l.value, text); err != nil {
			d.faults = append(d.faults, Fault{File: name, Key: l.path, Message: fmt.Sprintf("`%s`: %v", l.path, err)})
		}
	}
}

// values returns every setting by its path.
func (c *Config) values() map[string]any {
	values := map[string]any{}
	for _, l := range leaves(reflect.ValueOf(c).Elem(), "", true) {
		values[l.path] = l.value.Interface()
	}
	return values
}
