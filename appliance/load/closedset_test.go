package load

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"testing"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/sample"
	"dvmigrate/ledger"
)

// shut is a target that answers the parts of a $batch as told, and has no column but those of the table.
type shut struct {
	Target
	answers []error
	read    [][]string // the columns of each read
}

func (c *shut) Batch(context.Context, []dataverse.Op) ([]error, error) { return c.answers, nil }

func (c *shut) Records(_ context.Context, _ *schema.Table, _ []schema.GUID, columns []string, _ func(schema.GUID, json.RawMessage) error) error {
	c.read = append(c.read, columns)
	return nil
}

// TestStopKeepsWhatWasOpened: a change set that was done counts as done, also where one before it in the same $batch stops
// the load: its record is changed. What was not done goes back, and is not told as opened.
func TestStopKeepsWhatWasOpened(t *testing.T) {
	w := &work{}
	s := sender{l: &Loader{}, w: w, j: &job{w: w, results: make([]outcome, 2)}, target: &shut{answers: []error{&dataverse.Error{Kind: dataverse.Stopped}, nil}}}
	err := s.sendAround(t.Context(), []int{0, 1}, make([]dataverse.Op, 2))
	if dataverse.KindOf(err) != dataverse.Stopped {
		t.Errorf("got %v, want that the load stops", err)
	}
	if a, b := s.j.results[0], s.j.results[1]; a.result != ledger.ResultReleased || a.counted || b.result != ledger.ResultSuccess {
		t.Errorf("got %+v and %+v, want the first given back and the second done", a, b)
	}
	if n := w.around.Load(); n != 1 {
		t.Errorf("%d records are told as opened and closed again, want 1", n)
	}
}

// TestPartiesOfClosed: of the activities with parties only those are refused for good whose parties have changed.
func TestPartiesOfClosed(t *testing.T) {
	w := &work{update: true, parties: true}
	s := sender{w: w, j: &job{w: w, parts: []*mapping.Part{{}}}}
	err := &dataverse.Error{Kind: dataverse.RowFault, Code: codeInactive}
	if !s.isClosed(0, err) {
		t.Error("an update without parties does not go through")
	}
	if s.j.parts = nil; s.isClosed(0, err) { // all columns are sent, and the parties
		t.Error("an update with parties goes through")
	}
}

// TestClosedWithoutState: a table's state is read only where it has one. Of the sample a team has none.
func TestClosedWithoutState(t *testing.T) {
	all, err := schema.Read(bytes.NewReader(sample.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string][]string{"team": nil, "account": {"statecode", "statuscode"}} {
		if all.Table(table) == nil {
			t.Fatalf("the sample has no %s", table)
		}
		target, errs := &shut{}, []error{&dataverse.Error{Kind: dataverse.RowFault, Code: codeReadOnly}}
		err := giveClosed(t.Context(), &mapping.Table{Schema: all.Table(table)}, target, []schema.GUID{{1}}, [][]byte{[]byte(`{}`)}, errs, nil)
		if err != nil || errs[0] == nil {
			t.Errorf("%s: %v, and the record %v", table, err, errs[0])
		}
		if got := slices.Concat(target.read...); !slices.Equal(got, want) {
			t.Errorf("%s: read %q, want %q", table, got, want)
		}
	}
}

// tried has claimed each record so often.
type tried struct {
	book
	attempts uint8
}

func (b tried) Entry(string, uint32) (ledger.Entry, bool) {
	return ledger.Entry{Attempts: b.attempts}, true
}

// failing answers a $batch of more operations than it takes with an error.
type failing struct {
	Target
	most int
	err  error
}

func (c failing) Batch(_ context.Context, ops []dataverse.Op) ([]error, error) {
	if len(ops) > c.most {
		return nil, c.err
	}
	return make([]error, len(ops)), nil
}

func senderOf(attempts uint8, target Target, n int) *sender {
	w := &work{table: &mapping.Table{Name: "task"}}
	j := &job{w: w, results: make([]outcome, n), seqs: make([]uint32, n), owed: make([]uint8, n)}
	return &sender{l: &Loader{book: tried{attempts: attempts}}, w: w, j: j, target: target}
}

// TestStopIsNoFailure: a load that is stopped at once gives up no record, however often it was tried.
func TestStopIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := senderOf(maxAttempts, failing{err: &dataverse.Error{Kind: dataverse.Lost, Message: "stopped"}}, 1)
	if err := s.sendAround(ctx, []int{0}, make([]dataverse.Op, 1)); err == nil || s.j.results[0].result != ledger.ResultReleased || s.j.results[0].counted {
		t.Errorf("%v, %+v", err, s.j.results[0])
	}
}

// TestAroundTooBig: change sets that are too big together go in smaller requests.
func TestAroundTooBig(t *testing.T) {
	s := senderOf(1, failing{most: 10, err: &dataverse.Error{Kind: dataverse.TooBig}}, 40)
	var all []int
	for i := range 40 {
		all = append(all, i)
	}
	if err := s.sendAround(t.Context(), all, make([]dataverse.Op, 40)); err != nil || s.w.around.Load() != 40 {
		t.Errorf("%v, %d done", err, s.w.around.Load())
	}
}
