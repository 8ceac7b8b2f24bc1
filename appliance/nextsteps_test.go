package appliance

import (
	"strings"
	"testing"
	"time"

	"dvmigrate/appliance/load"
	"dvmigrate/appliance/progress"
)

func TestWhatToDoNext(t *testing.T) {
	end := time.Unix(1, 0)
	ran := func(note string) []RunStatus { return []RunStatus{{End: &end, Note: note}} }
	bad := []FailureCount{{Table: "contact", Class: "parent", Records: 900}, {Table: "account", Class: "value", Records: 3, Todo: "mend the transform"}, {Table: "lead", Class: "orphan", Records: 2}}
	for name, tc := range map[string]struct {
		s    Status
		want string // what the first lines begin with
	}{
		"staged":                        {Status{Summary: Counts{Source: 9, Unprocessed: 9}}, "dvmigrate estimate says"},
		"running":                       {Status{Summary: Counts{Source: 9, Unprocessed: 9, InFlight: 3}, Live: &progress.Snapshot{}}, "let it run"},
		"killed":                        {Status{Summary: Counts{Source: 9, InFlight: 3}, Runs: []RunStatus{{}}}, "dvmigrate load: it looks up what became of 3 records in flight"},
		"stopped":                       {Status{Summary: Counts{Source: 9, Success: 3}, Runs: ran(load.ErrDrained.Error())}, "dvmigrate load: it goes on"},
		"stopped by an error":           {Status{Summary: Counts{Source: 9, Unprocessed: 3}, Runs: ran("disk full")}, "see to what stopped"},
		"failures, behind which others": {Status{Summary: Counts{Source: 999, Processed: 94, Error: 3, Held: 902}, Runs: ran("done"), Failures: bad}, "dvmigrate errors --groups says what failed, by cause; begin with value of account: mend the transform|then dvmigrate stage"},
		"failures while it waits":       {Status{Summary: Counts{Source: 9, Unprocessed: 6, Error: 3}, Runs: ran("done"), Failures: bad[1:2]}, "dvmigrate load: it goes on|dvmigrate errors --groups"},
		"done":                          {Status{Summary: Counts{Source: 9, Processed: 9}, Runs: ran("done")}, "dvmigrate reconcile compares"},
		"compared before":               {Status{Summary: Counts{Source: 9, Processed: 9}, Runs: ran("done"), Compared: &ComparedBriefly{Pass: true}}, "dvmigrate reconcile: something"},
		"compared, with differences":    {Status{Summary: Counts{Source: 9, Processed: 9}, Runs: ran("done"), Compared: &ComparedBriefly{Holds: true, Mismatches: 4}}, "look at the 4 differences"},
		"accepted":                      {Status{Summary: Counts{Source: 9, Processed: 9}, Runs: ran("done"), Compared: &ComparedBriefly{Holds: true, Pass: true}}, "dvmigrate report|dvmigrate delta"},
	} {
		got := nextSteps(tc.s)
		want := strings.Split(tc.want, "|")
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", name, got, want)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s: %q, want %q", name, got[i], want[i])
			}
		}
	}
}
