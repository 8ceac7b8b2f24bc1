package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"dvmigrate/duckstage"
)

// errNoFile says that a pattern matches nothing.
var errNoFile = errors.New("no file")

// filesState is what is kept of the files of a feed that were read and merged: with the stage,
// so that an older snapshot knows the fewer files that its rows came from.
type filesState struct {
	Key   string // by which they were merged
	Files map[string]fileMark
}

// fileMark tells a file that was written again from the one that was read.
type fileMark struct{ Size, Modified int64 }

func filesKey(source string) string { return "files of " + source }

// filesRead are the files that earlier readings have merged into what is there.
func (r *run) filesRead(ctx context.Context, stage *duckstage.Stage) (filesState, error) {
	none := filesState{Key: strings.Join(r.src.Feed.Key, ","), Files: map[string]fileMark{}}
	text, err := stage.Meta(ctx, filesKey(r.src.Name))
	if err != nil || text == "" {
		return none, err
	}
	var former filesState
	if err := json.Unmarshal([]byte(text), &former); err != nil {
		return none, fmt.Errorf("read %s: %w", filesKey(r.src.Name), err)
	}
	var there int
	if err := stage.Row(ctx, []any{&there}, "SELECT count(*) FROM dm.sources WHERE name = ?", r.src.Name); err != nil {
		return none, err
	}
	if former.Key != none.Key || there == 0 || former.Files == nil {
		return none, nil
	}
	return former, nil
}

// leaveRead leaves out the files that were read before. It reports whether any are left.
func (r *run) leaveRead(read filesState) bool {
	var left []input
	var again int
	r.total = 0
	for _, in := range r.inputs {
		mark, known := read.Files[in.shown]
		if known && mark == markOfFile(in) {
			continue
		}
		if known {
			again++
		}
		left = append(left, in)
		r.total += in.size
	}
	note := fmt.Sprintf("%d files were read before and are not read again, %d are new", len(r.inputs)-len(left), len(left)-again)
	if again > 0 {
		note += fmt.Sprintf(", %d were written again since and are read again", again)
	}
	if len(read.Files) > 0 {
		r.notes = append(r.notes, note)
	}
	r.inputs = left
	return len(left) > 0
}

func markOfFile(in input) fileMark { return fileMark{in.size, in.mtime.UnixNano()} }

// nothingNew is the result of a reading that has no file to read: what is there stays.
func (r *run) nothingNew(ctx context.Context, stage *duckstage.Stage) (rows int64, err error) {
	r.notes = append(r.notes, "there is no new file")
	return rows, stage.Row(ctx, []any{&rows}, `SELECT coalesce("rows", 0) FROM dm.sources WHERE name = ?`, r.src.Name)
}

// keepFiles notes the files that are merged now.
func (r *run) keepFiles(ctx context.Context, stage *duckstage.Stage, read filesState) error {
	for _, in := range r.inputs {
		read.Files[in.shown] = markOfFile(in)
	}
	text, err := json.Marshal(read)
	if err != nil {
		return err
	}
	return stage.SetMeta(ctx, filesKey(r.src.Name), string(text))
}
