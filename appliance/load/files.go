package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"path"
	"slices"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/ledger"
)

// The content of files is sent record by record, few at once: after the record is there,
// in a pass of its own, or together with it where it is an attachment (mapping.File).
// What the target has of a file the staging before says, by path, name, size and time, as of any
// other column (changed.go): a changed row's files that are the same are not sent again.
//
// A file in a column and a note's body are absolute: what was sent once may be sent again
// and takes the place of itself, so that no record need stay in flight. After a lost answer
// the target is asked for the file first, to spare it a large one that has arrived; but not
// where the record may have had another before.

// FilesAtOnce is how many requests with files are under way at most: each holds a chunk of
// its file in memory.
const FilesAtOnce = 8

// filesOf are the columns that take their content from files in a pass.
func filesOf(t *mapping.Table, pass ledger.Pass) []mapping.Column {
	var out []mapping.Column
	for _, c := range t.Files() {
		if c.IsAttachment() == (pass == ledger.Main) && pass <= ledger.Files {
			out = append(out, c)
		}
	}
	return out
}

// hasFile reports whether a record is an attachment whose body is to be sent beside it.
func (s *sender) hasFile(i int) bool {
	return s.w.pass == ledger.Main && len(s.w.files) > 0 && (s.j.files[i][0].Path != "" || s.w.update) && s.j.withFile(i, s.w.files[0])
}

// sendFiles sends the files of the records in the set.
func (s *sender) sendFiles(ctx context.Context, set []int) error {
	for k, i := range set {
		if err := s.sendFilesOf(ctx, i); err != nil {
			return s.release(set[k:], err) // absolute: to be sent again, whatever has arrived
		}
	}
	return nil
}

func (s *sender) sendFilesOf(ctx context.Context, i int) error {
	e, _ := s.l.book.Entry(s.w.table.Name, s.j.seqs[i])
	before := e.Action == ledger.Update || len(s.w.table.Match) > 0 // it may have had other files
	again := e.Attempts > 1+claimsBefore(s.j.owed[i], s.w.pass)
	for tries := 0; ; tries++ {
		err := s.putFiles(ctx, i, before, !before && (tries > 0 || again))
		switch {
		case err == nil:
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
			return nil
		case refusedAlone(err) || dataverse.KindOf(err) == dataverse.NotFound || unreadable(err):
			s.fail(i, err)
			return nil
		case ctx.Err() != nil || dataverse.KindOf(err) != dataverse.Lost && !passesBy(err):
			return err
		case tries >= maxTries:
			s.later([]int{i}, err)
			return nil
		}
	}
}

// unreadable reports whether a file cannot be read, which is the row's own fault.
func unreadable(err error) bool {
	var read *dataverse.ReadError
	return errors.As(err, &read)
}

// putFiles gives a record its images and files. before says that it may have others, which
// go where the row has none; ask, that what has arrived need not be sent again.
func (s *sender) putFiles(ctx context.Context, i int, before, ask bool) error {
	t, id := s.w.table.Schema, s.j.ids[i]
	if body := s.w.encoder.UpdateBody(nil, s.j.record(i)); !s.w.encoder.Empty() && s.j.withFields(i) && (before || !mapping.ClearsAll(body)) {
		if err := s.updateThrough(ctx, i, body); err != nil {
			return err
		}
	}
	for k, c := range s.w.files {
		f, column := s.j.files[i][k], c.LogicalName
		var err error
		switch {
		case !s.j.withFile(i, c): // the target has it
		case f.Path != "" && ask && c.Type == schema.File:
			name, size, there, readErr := s.target.FileOf(ctx, t, id, column)
			if err = readErr; err == nil && (!there || name != f.Name || size != f.Size) {
				err = s.putFile(ctx, i, c, f)
			}
		case f.Path != "":
			err = s.putFile(ctx, i, c, f)
		case before && c.Type == schema.File:
			err = s.target.ClearFile(ctx, t, id, column)
		case before:
			err = s.updateThrough(ctx, i, fmt.Appendf(nil, `{%q:null}`, column))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) putFile(ctx context.Context, i int, c mapping.Column, f mapping.File) error {
	return s.withFile(f, func(content dataverse.Content) error {
		if c.IsNote() {
			return s.target.UpdateNote(ctx, s.w.table.Schema, s.j.ids[i], s.fileFields(f), content)
		}
		return s.target.UploadFile(ctx, s.w.table.Schema, s.j.ids[i], c.LogicalName, content)
	})
}

// createAttachment creates an attachment with its body.
func (s *sender) createAttachment(ctx context.Context, i int, body []byte) error {
	f := s.j.files[i][0]
	return s.withFile(f, func(content dataverse.Content) error {
		fields := s.fileFields(f)
		if len(body) == 2 && len(fields) > 0 {
			fields = fields[1:]
		}
		id, err := s.target.CreateAttachment(ctx, s.w.table.Schema, append(append(body[:len(body)-1], fields...), '}'), content)
		if err == nil && s.w.table.ServerIDs {
			s.j.ids[i] = id
		}
		return err
	})
}

// updateAttachment changes an attachment and its body. Whether the service lets it lose that is not
// documented; it is asked to, and says.
func (s *sender) updateAttachment(ctx context.Context, i int) error {
	t, body, f := s.w.table.Schema, s.w.encoder.UpdateBody(nil, s.j.record(i)), s.j.files[i][0]
	if f.Path == "" {
		for _, name := range []string{s.w.files[0].LogicalName, "filename"} {
			if s.followsFile(name) {
				if body = body[:len(body)-1]; len(body) > 1 {
					body = append(body, ',')
				}
				body = fmt.Appendf(body, "%q:null}", name)
			}
		}
		return s.target.Update(ctx, t, s.j.ids[i], body)
	}
	if s.j.withFields(i) {
		if err := s.target.Update(ctx, t, s.j.ids[i], body); err != nil {
			return err
		}
	}
	return s.withFile(f, func(content dataverse.Content) error { return s.target.UpdateAttachment(ctx, t, s.j.ids[i], content) })
}

// followsFile reports whether a column of a note or an attachment gets its value from the file:
// the SELECT does not yield it otherwise.
func (s *sender) followsFile(name string) bool {
	column := s.w.table.Schema.Column(name)
	return column != nil && column.Writable(s.w.pass != ledger.Main) && !slices.ContainsFunc(s.w.table.Columns, func(c mapping.Column) bool { return c.LogicalName == name && !c.File })
}

// withFile opens a file for fn. One that cannot be read, or is not as it was staged, is a
// dataverse.ReadError.
func (s *sender) withFile(f mapping.File, fn func(dataverse.Content) error) error {
	file, err := s.l.o.Files.Open(f.Path)
	if err != nil {
		return &dataverse.ReadError{Err: err}
	}
	defer file.Close()
	info, err := file.Stat()
	content, ok := file.(io.ReaderAt)
	switch {
	case err != nil:
		return &dataverse.ReadError{Err: err}
	case !ok || !info.Mode().IsRegular():
		return &dataverse.ReadError{Err: &fs.PathError{Op: "open", Path: f.Path, Err: errors.New("not a plain file")}}
	case info.Size() != f.Size:
		return &dataverse.ReadError{Err: fmt.Errorf("%s has %d bytes, and had %d when it was staged: stage it again", f.Path, info.Size(), f.Size)}
	}
	return fn(dataverse.Content{Name: f.Name, Size: f.Size, ReaderAt: content})
}

// fileFields are the columns of a note or an attachment that follow from its file, each
// with a comma before, unless the SELECT yields them.
func (s *sender) fileFields(f mapping.File) []byte {
	var out []byte
	add := func(name string, value any) {
		if value == "" || !s.followsFile(name) {
			return
		}
		text, err := json.Marshal(value)
		if err == nil { // of texts and truths: always
			out = fmt.Appendf(out, ",%q:%s", name, text)
		}
	}
	kind, _, _ := mime.ParseMediaType(mime.TypeByExtension(path.Ext(f.Name)))
	add("filename", f.Name)
	add("mimetype", kind)
	if s.w.pass != ledger.Main {
		add("isdocument", true)
	}
	return out
}
