package load

import (
	"slices"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/ledger"
)

// job is the records of one request when all goes well. Its records are named by their place in it. Jobs are used again, for their memory.
type job struct {
	w       *work
	user    schema.GUID // to create the records as; zero: who signs in
	size    int         // records that it is to have; 0: as many as a request of the work has
	toll    toll        // what its requests took, where somebody asks
	seqs    []uint32
	owed    []uint8
	ids     []schema.GUID
	links   []dataverse.Pair // of an N:N link table
	keys    []matchKey       // where the target is asked for records by them
	party   [][]byte         // of an activity with parties: its parties
	parts   []*mapping.Part  // of an update of changed columns: which
	reopens []bool           // of an update: the record was made inactive when its row was gone
	want    [][]byte         // what changes of others are told by, as a record; nil: the record itself
	states  []stateOf        // of work.saysStates: the state that the row says; -1: none
	was     [][]byte         // what those columns had before, as a record; nil: not known
	body    []byte           // {"Targets":[record,record
	starts  []uint32         // where record i begins in body
	ends    []uint32         // and where it ends

	formers []former // of a restoring work: what each record had

	files    [][]mapping.File  // the files of each record, in the order of the work's
	closings []mapping.Closing // where the records are closed by an action
	instead  map[int][]byte    // records in the place of those in body

	results []outcome // one a record; the zero value = none yet
	places  []int     // 0, 1, 2, ...
	kept    int       // records that are not to be sent

	refusals int   // bulk requests that were refused
	passing  error // the last cause that kept records waiting
	stopped  bool  // it was not sent to its end
	done     int64 // records with each outcome, once they are listed
	failed   int64
	held     int64
}

type outcome struct {
	result  ledger.Result
	counted bool
	reason  *ledger.Reason
	matched bool // the target's record was found, and its id is kept
	last    bool // no later pass is owed
}

const bodyOpen, bodyClose = `{"Targets":[`, `]}`

// put gives a job's memory back.
func (w *work) put(j *job) {
	*j = job{w: w, seqs: j.seqs[:0], owed: j.owed[:0], ids: j.ids[:0], links: j.links[:0], keys: j.keys[:0], party: j.party[:0], parts: j.parts[:0], reopens: j.reopens[:0], states: j.states[:0], want: j.want[:0], was: j.was[:0], body: j.body[:0],
		starts: j.starts[:0], ends: j.ends[:0], results: j.results[:0], places: j.places[:0]}
	w.jobs.Put(j)
}

func (j *job) add(seq uint32, owed uint8, rows *mapping.Rows, i int) {
	j.places = append(j.places, len(j.seqs))
	j.seqs = append(j.seqs, seq)
	j.owed = append(j.owed, owed)
	j.results = append(j.results, outcome{})
	if j.w.table.Link != nil {
		id1, id2 := rows.LinkIDs(i)
		j.links = append(j.links, dataverse.Pair{ID1: id1, ID2: id2})
		return
	}
	j.ids = append(j.ids, rows.ID(i))
	if len(j.body) == 0 {
		j.body = append(j.body, bodyOpen...)
	} else {
		j.body = append(j.body, ',')
	}
	j.starts = append(j.starts, uint32(len(j.body)))
	j.body = rows.AppendTarget(j.body, i)
	j.ends = append(j.ends, uint32(len(j.body)))
	if j.w.parties {
		j.party = append(j.party, rows.AppendParties(nil, i))
	}
	if text := rows.Fault(); text != "" {
		j.keepBack(len(j.seqs)-1, ClassPrevalidate, text)
	}
}

func (j *job) record(i int) []byte {
	if other, ok := j.instead[i]; ok {
		return other
	}
	return j.body[j.starts[i]:j.ends[i]]
}

// replace lets another record be sent.
func (j *job) replace(i int, record []byte) {
	if j.instead == nil {
		j.instead = map[int][]byte{}
	}
	j.instead[i] = record
}

// all lists every record of the job that is to be sent.
func (j *job) all() []int {
	if j.kept == 0 {
		return j.places
	}
	return slices.DeleteFunc(slices.Clone(j.places), func(i int) bool { return j.results[i].result != 0 })
}

// keepBack gives a record that must not be sent its outcome.
func (j *job) keepBack(i int, class Class, text string) {
	j.kept++
	j.results[i] = outcome{result: ledger.ResultHeld, reason: &ledger.Reason{Class: uint8(class), Text: text}}
}

// bulk is the body of a bulk request for some of the records, which are in order.
func (j *job) bulk(set []int) []byte {
	if len(set) == len(j.seqs) && len(j.instead) == 0 {
		return append(j.body, bodyClose...)
	}
	body := []byte(bodyOpen)
	for k, i := range set {
		if k > 0 {
			body = append(body, ',')
		}
		body = append(body, j.record(i)...)
	}
	return append(body, bodyClose...)
}

// giveBack lets the records wait again: nothing was sent of them, as the load stops.
func (j *job) giveBack() {
	j.stopped = true
	for i := range j.results {
		if j.results[i].result == 0 {
			j.results[i].result = ledger.ResultReleased
		}
	}
}

// appendOutcomes appends the results, neighbours of one result together, and counts them.
// Records without one stay in flight.
func (j *job) appendOutcomes(out []ledger.Outcome) []ledger.Outcome {
	for i := range j.results {
		r := &j.results[i]
		o := ledger.Outcome{Range: ledger.One(j.seqs[i]), Result: r.result, Counted: r.counted}
		switch r.result {
		case 0:
			continue
		case ledger.ResultSuccess:
			j.done++
			o.Next = owedAfter(j.owed[i], j.w.pass)
			if r.last || j.w.removing != nil {
				o.Next = ledger.Main
			}
		case ledger.ResultFailed:
			j.failed++
		case ledger.ResultHeld:
			j.held++
		}
		if r.reason != nil {
			o.Reason = *r.reason
		}
		if n := len(out); n > 0 && r.reason == nil && out[n-1].To == o.From && sameOutcome(&out[n-1], &o) {
			out[n-1].To = o.To
			continue
		}
		out = append(out, o)
	}
	return out
}

func sameOutcome(a, b *ledger.Outcome) bool {
	return a.Result == b.Result && a.Next == b.Next && a.Counted == b.Counted && a.Reason == b.Reason
}

// claimsBefore is how often a record was claimed for passes before this one when each went well at
// once: Entry.Attempts counts over all of them.
func claimsBefore(owed uint8, pass ledger.Pass) (n uint8) {
	for p := ledger.Main; p < pass; n++ {
		if p = owedAfter(owed, p); p == ledger.Main {
			return n + 1
		}
	}
	return n
}

// owedAfter is the pass that a record owes after one has succeeded; Main is none.
func owedAfter(owed uint8, pass ledger.Pass) ledger.Pass {
	switch {
	case pass < ledger.Lookups && owed&mapping.OwesLookups != 0:
		return ledger.Lookups
	case pass < ledger.Files && owed&mapping.OwesFiles != 0:
		return ledger.Files
	case pass < ledger.State && owed&mapping.OwesState != 0:
		return ledger.State
	}
	return ledger.Main
}
