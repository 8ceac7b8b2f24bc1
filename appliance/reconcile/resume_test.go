package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
)

// kept is Progress in memory, as text, as a file would have it.
type kept struct {
	text map[string]string
	done int
}

func (k *kept) Proven(table string) *Proven {
	if k.text[table] == "" {
		return nil
	}
	p := new(Proven)
	if err := json.Unmarshal([]byte(k.text[table]), p); err != nil {
		panic(err)
	}
	return p
}

func (k *kept) Keep(table string, p *Proven) error {
	b, err := json.Marshal(p)
	k.text[table] = string(b)
	k.done, _ = p.Slices()
	return err
}

// dying is a client that fails for one filter, once; it notes what each filter selected.
type dying struct {
	client
	at      string
	mu      sync.Mutex
	selects map[string][]string
}

var errDied = errors.New("the connection is lost")

func (d *dying) Rows(ctx context.Context, t *schema.Table, q dataverse.Query, fn func(json.RawMessage) error) error {
	d.mu.Lock()
	d.selects[q.Filter] = q.Select
	died := d.at != "" && strings.HasPrefix(q.Filter, d.at)
	d.mu.Unlock()
	if died {
		return errDied
	}
	return d.client.Rows(ctx, t, q, fn)
}

// TestGoesOn interrupts a comparison in its last slice. The next one reads of the slices that
// were done ids and versions, and finds what was changed in them meanwhile; one of other
// columns, and one that is to begin anew, read all in full.
func TestGoesOn(t *testing.T) {
	const n, slicesOf = 60, 6
	w := world(t)
	c := environment(t, w)
	s := openStage(t, map[string]string{"account": "SELECT *, " + idSQL("account") + ` AS dm_id FROM (SELECT range::UINTEGER AS dm_seq, 'K' || range AS legacy_key, 'N' || range AS name,
		range::DECIMAL(17,2) AS revenue, TIMESTAMP '2020-01-01' + INTERVAL (range) DAY AS overriddencreatedon FROM range(60))`})
	table := bind(t, w, "account", "name", "revenue", "overriddencreatedon")
	insert(t, s, c, table)
	book := entries{"account": many(loaded, n)}
	known, progress := &versionMap{equal: map[uint32]uint64{}}, &kept{text: map[string]string{}}
	target := &dying{client: c, at: "createdon ge 2020-02-20T00:00:00Z"}
	compare := func(change ...func(*Options)) (TableResult, error) {
		target.selects = map[string][]string{}
		o := Options{Values: true, Limit: 100, RecordSeq: recordSeq, Parallel: 2, SliceRows: 10, Progress: progress,
			Versions: func(string, string) (Versions, error) { return known, nil }}
		readBackOf(book)(&o)
		o.Tables = append(o.Tables, table)
		for _, f := range change {
			f(&o)
		}
		r, err := Run(t.Context(), s, book, target, o)
		if err != nil {
			return TableResult{}, err
		}
		return r.Tables[0], nil
	}
	if _, err := compare(); !errors.Is(err, errDied) {
		t.Fatalf("it ended with %v", err)
	}
	done := progress.done
	if done < slicesOf-2 || done >= slicesOf { // the last is begun when all but one of the others have ended
		t.Fatalf("%d slices are done: %s", done, progress.text)
	}
	p := progress.Proven("account")
	proven := 0 // records of the slices that are done: one a day
	for _, d := range p.Done {
		if d {
			proven += n / slicesOf
		}
	}
	target.at = ""
	first := uint32(slices.Index(p.Done, true) * n / slicesOf) // of a slice that is done
	if err := c.Update(t.Context(), table.Schema, id("account", first+3), []byte(`{"name":"other"}`)); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), dataverse.DeleteOp(table.Schema, id("account", first+4))); err != nil {
		t.Fatal(err)
	}
	before := *progress
	before.text = map[string]string{"account": progress.text["account"]}
	want := "source 60 target 59 missing 1 extra 0 different 1 duplicates 0 others 0"
	got, err := compare()
	if err != nil || brief(got)[0] != want || got.Resumed == nil || got.Resumed.Done != done || got.Resumed.Of != slicesOf || got.Unchanged != int64(proven-2) || !got.Resumed.Began.Equal(p.Began) {
		t.Errorf("gone on: %v, %q, %+v, %d unchanged of %d", err, brief(got), got.Resumed, got.Unchanged, proven)
	}
	if f := got.Figures[0]; f.Staged != "1770" || f.Target != fmt.Sprint(1770-first-4) {
		t.Errorf("the sum is %+v", f)
	}
	narrow := 0
	for _, names := range target.selects {
		if !slices.Contains(names, "name") {
			narrow++
		}
	}
	if len(target.selects) != slicesOf || narrow != done {
		t.Errorf("%d of %d slices were read without columns, %d were done", narrow, len(target.selects), done)
	}
	if progress.done != slicesOf {
		t.Errorf("in the end %d slices are done", progress.done)
	}

	for name, change := range map[string]func(*Options){
		"other columns": func(o *Options) { o.Rules = func(string) Rules { return Rules{Ignore: []string{"revenue"}} } },
		"nothing kept":  func(o *Options) { o.Progress = &kept{text: map[string]string{}} },
	} {
		progress.text = map[string]string{"account": before.text["account"]}
		got, err := compare(change)
		if err != nil || brief(got)[0] != want || got.Resumed != nil || got.Unchanged != 0 {
			t.Errorf("%s: %v, %q, %+v, %d unchanged", name, err, brief(got), got.Resumed, got.Unchanged)
		}
	}
}
