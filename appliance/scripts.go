package appliance

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"dvmigrate/appliance/config"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/transform"
)

// scriptFolder is the folder, within that of the transforms, of the views and macros that
// the transforms share.
const scriptFolder = "lib"

// scripts reads the project's views and macros.
func (p *Project) scripts() ([]transform.Script, error) {
	return p.sqlFiles(filepath.Join(p.Config.Path(p.Config.Transforms), scriptFolder))
}

// sqlFiles reads the SQL files of a folder, in order of name.
func (p *Project) sqlFiles(dir string) ([]transform.Script, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	var out []transform.Script
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(p.Config.Dir, path)
		if err != nil {
			rel = path
		}
		out = append(out, transform.Script{File: rel, SQL: string(b)})
	}
	return out, nil
}

// scriptFaults are the faults of views and macros in an error, with their places; nil
// when it has none.
func scriptFaults(err error) config.Faults {
	var faults config.Faults
	var one *transform.ScriptError
	joined, many := err.(interface{ Unwrap() []error })
	switch {
	case many:
		for _, e := range joined.Unwrap() {
			faults = append(faults, scriptFaults(e)...)
		}
	case errors.As(err, &one):
		f := config.Fault{File: one.File, Message: one.Err.Error()}
		var sqlError *duckstage.SQLError
		if errors.As(one.Err, &sqlError) {
			f.Line, f.Column, f.Message, f.Hint = sqlError.Line, sqlError.Column, sqlError.Message, sqlError.Hint
		}
		faults = append(faults, f)
	}
	return faults
}
