// Package sample writes a whole small migration project: an old CRM's extracts
// with the ugly forms that real ones have, maps, one transform a table, the
// schema of the target and the records that the target holds already. It serves
// `init --sample`, the demo and the end-to-end tests.
//
// It promises that equal Options give equal bytes; that the rows over all target
// tables are exactly as many as asked for; that without faults every row can be
// loaded, every lookup leads somewhere and every option is valid; and that with
// faults exactly the rows counted in the Summary are wrong, with no other row
// pointing to one of them. It does not stage or load: it knows no other package.
package sample

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed files begin
var files embed.FS

// projectFile is the file that makes a folder a project.
const projectFile = "migration.yaml"

// The bounds of Options.Records, and what 0 stands for.
const (
	minRecords     = 50
	maxRecords     = 5_000_000
	DefaultRecords = 2000
)

// ErrExists says that the folder already holds a project.
var ErrExists = errors.New("the folder already holds a project")

// Options says what to write.
type Options struct {
	Records int    // rows over all tables, links of N:N relationships included; 0 for DefaultRecords
	Faults  int    // rows made wrong on purpose, at most a tenth of Records
	Seed    uint64 // another seed gives other names and numbers, and the same counts
	Force   bool   // write into a folder that already holds a project
}

// Summary says what was written.
type Summary struct {
	Records int            // rows over all tables: the sum of Tables
	Sources map[string]int // data lines by source file, such as sources/CUST.csv; bad lines included
	Tables  map[string]int // rows that each transform yields, by its table's logical name
	Faults  map[string]int // rows made wrong, by kind: TooLong and the others; only kinds that occur
}

// Schema returns the target's tables and columns as the project's schema.json.
func Schema() []byte { return embedded("schema.json") }

// Seed returns emulator-seed.json: the records that the target holds before the
// migration, by table, with logical column names and lookups as _column_value.
func Seed() []byte { return embedded("emulator-seed.json") }

func embedded(name string) []byte {
	b, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // the file is part of the program
	}
	return b
}

// Write writes the project into dir, which is made if it is not there. Each file
// appears whole or not at all, migration.yaml last. The error is ErrExists if dir
// holds a project and o.Force is not set. Other files in dir are left alone.
func Write(dir string, o Options) (Summary, error) {
	if o.Records == 0 {
		o.Records = DefaultRecords
	}
	if o.Records < minRecords || o.Records > maxRecords {
		return Summary{}, fmt.Errorf("write sample: %d records; from %d to %d are possible", o.Records, minRecords, maxRecords)
	}
	if o.Faults < 0 || o.Faults > o.Records/10 {
		return Summary{}, fmt.Errorf("write sample: %d faults; at most a tenth of the %d records", o.Faults, o.Records)
	}
	if _, err := os.Stat(filepath.Join(dir, projectFile)); err == nil && !o.Force {
		return Summary{}, fmt.Errorf("write sample: %s: %w", dir, ErrExists)
	}
	s, err := write(dir, newPlan(o))
	if err != nil {
		return Summary{}, fmt.Errorf("write sample: %w", err)
	}
	return s, nil
}

// WriteBegin writes into dir what a project of one's own begins with: settings to
// fill in, and folders for sources and transforms. It refuses as Write does.
func WriteBegin(dir string, force bool) error {
	if _, err := os.Stat(filepath.Join(dir, projectFile)); err == nil && !force {
		return fmt.Errorf("write project: %s: %w", dir, ErrExists)
	}
	for _, sub := range []string{"sources", "transform"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return fmt.Errorf("write project: %w", err)
		}
	}
	if err := writeStatic(dir, "begin"); err != nil {
		return fmt.Errorf("write project: %w", err)
	}
	return nil
}

func write(dir string, p *plan) (Summary, error) {
	for _, sub := range []string{"sources", "maps", "transform"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return Summary{}, err
		}
	}
	s := Summary{Sources: map[string]int{}, Tables: map[string]int{}, Faults: map[string]int{}}
	for _, x := range p.extracts() {
		if err := x.write(dir); err != nil {
			return Summary{}, err
		}
		s.Sources[x.path] = x.to - x.from + x.bad
		s.Tables[x.table] += x.to - x.from
		s.Records += x.to - x.from
	}
	for k, n := range p.faults {
		if n > 0 {
			s.Faults[kindNames[k]] = n
		}
	}
	if err := writeStatic(dir, "files"); err != nil {
		return Summary{}, err
	}
	return s, nil
}

// writeStatic writes the embedded files of one folder, the project file last, so that a folder
// with a project file is complete.
func writeStatic(dir, from string) error {
	var project string
	err := fs.WalkDir(files, from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if path.Base(name) == projectFile {
			project = name
			return nil
		}
		return copyOut(dir, from, name)
	})
	if err != nil {
		return err
	}
	return copyOut(dir, from, project)
}

func copyOut(dir, from, name string) error {
	b, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	to := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(name, from+"/")))
	return writeWhole(to, func(w *os.File) error {
		_, err := w.Write(b)
		return err
	})
}
