package console

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"dvmigrate/appliance/progress"
)

func newLarge() *large {
	now := time.Now()
	l := &large{state: State{Project: "large", Target: "https://acme-test.crm4.dynamics.com", Plan: "generation 1 (full)", Process: &Process{Command: "load", PID: 4711, Host: "vm-migrate-01", Since: now.Add(-30 * time.Hour)}}}
	s := &l.state
	left, due := 20*3600.0, now.Add(23*time.Hour)
	s.Left, s.Due = &left, &due
	names := []string{"account", "contact", "lead", "opportunity", "product", "task", "contoso_equipmentmaintenancecontract"}
	for i := len(names); i < 120; i++ {
		names = append(names, fmt.Sprintf("contoso_table%03d", i))
	}
	for i, name := range names {
		c := Counts{Source: 840_000 - int64(i)*117}
		switch {
		case i < 70:
			c.Error, c.Held = int64(i%7)*31, int64(i%11)*57
			c.Success = int64(i%3) * 1000
			c.Processed = c.Source - c.Error - c.Held - c.Success
		case i == 70:
			c.Processed, c.InFlight, c.Error = 400_000, 20_000, 12
			c.Unprocessed = c.Source - c.Processed - c.InFlight - c.Error
		default:
			c.Unprocessed = c.Source
		}
		if i == 70 {
			c.Processed += 3_600_000 // the large one
			c.Source += 3_600_000
		}
		t := Table{Name: name, Counts: c, Classes: map[string]int64{}}
		if c.Error > 0 {
			t.Classes["value"] = c.Error
		}
		if c.Unprocessed > 0 {
			t.Next = "main"
		}
		s.Tables = append(s.Tables, t)
		s.Summary.Source += c.Source
		s.Summary.Processed += c.Processed
		s.Summary.Success += c.Success
		s.Summary.InFlight += c.InFlight
		s.Summary.Unprocessed += c.Unprocessed
		s.Summary.Error += c.Error
		s.Summary.Held += c.Held
	}
	s.Live = &progress.Snapshot{Time: now, Phase: "load", Elapsed: 30 * 3600, Percent: progress.Unknown,
		Total: progress.Total{Counts: progress.Counts{Total: s.Summary.Source, Done: s.Summary.Processed, Failed: s.Summary.Error, Requests: 812_345, Bytes: 91_234_567_890}, Speed: progress.Speed{Rate: 618.3, Average: 598.1, Left: 20 * 3600, Throttled: 512}}}
	for i, t := range s.Tables[:71] {
		step := progress.Table{Name: t.Name, Pass: "insert", State: progress.Ended, Counts: progress.Counts{Total: t.Source, Done: t.Source - t.Error - t.Held, Failed: t.Error, Held: t.Held}, Speed: progress.Speed{Average: 590}}
		if i == 70 {
			step.State, step.Rate, step.Left = progress.Running, 618.3, 700
			step.Done = t.Processed
		}
		s.Live.Tables = append(s.Live.Tables, step)
	}
	for i, text := range []string{"snapshot 7f3a taken, 81234567 bytes new", "31 records held back, since the account they point to failed", "the service asked to wait", "a request of 200 records was refused, looking for the guilty ones: A validation error occurred. The value 161 of 'name' exceeds the maximum length of 160."} {
		s.Live.Events = append(s.Live.Events, progress.Event{Seq: uint64(i + 1), Time: now.Add(time.Duration(i-10) * time.Minute), Kind: []progress.Kind{progress.Noted, progress.Noted, progress.Throttling, progress.Narrowed}[i], Table: []string{"", "contact", "", "lead"}[i], Text: text, Times: i*i + 1})
	}
	s.Pulse = &progress.Pulse{Bottleneck: "the service's limit of execution time, for 2 users; more application users would raise it", Requests: 3.2, Bytes: 91_234_567_890, Latency: 5.1, Slow: 7.9, Bound: 104, Most: 104,
		Machine: progress.Machine{CPU: 0.23, Own: 1.4, Cores: 8, Memory: 28 << 30, Available: 19 << 30, OwnMemory: 640 << 20, Received: 210_000, Sent: 2_400_000,
			Disks: []progress.Disk{{Use: "stage and ledger, temporary files", Path: "/data/crm/work", Left: 311 << 30, Size: 500 << 30}, {Use: "snapshots", Path: "/backup", Left: progress.Unknown}}}}
	for i := range 2 {
		s.Pulse.Users = append(s.Pulse.Users, progress.User{Name: fmt.Sprintf("application user %d of 2 (0f8fad5b-d9cb-469f-a165-70867728950e)", i+1), InFlight: 8 + i, Waiting: 3, Window: 9, Hint: 20, Requests: 406_172,
			Throttled: map[string]int64{progress.LimitRequests: 0, progress.LimitTime: 17}, Limits: []progress.Use{{Limit: progress.LimitRequests, Used: 480, Most: 5940, Known: true}, {Limit: progress.LimitTime, Used: 1120, Most: 1188, Known: true}, {Limit: progress.LimitAtOnce, Used: 8, Most: 20, Known: true}}})
	}
	end := now.Add(-31 * time.Hour)
	s.Runs = []Run{{Start: now.Add(-30 * time.Hour)}, {Start: now.Add(-50 * time.Hour), End: &end, Records: 12_345_678, Failed: 12, Note: "stopped on request; run load again to go on"}, {Start: now.Add(-60 * time.Hour)}}
	return l
}

// State implements Controller.
func (l *large) State(context.Context) (State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.state
	live, pulse := *s.Live, *s.Pulse
	s.Live, s.Pulse = &live, &pulse
	return s, nil
}

// Act implements Controller.
func (l *large) Act(_ context.Context, a Action) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.did = append(l.did, a.Do)
	switch a.Do {
	case "pause", "resume":
		l.state.Live.Paused = a.Do == "pause"
	case "parallel":
		l.state.Pulse.Bound = a.Parallel
	}
	return "done: " + a.Do, nil
}

type object = map[string]any

// Ask implements Controller.
func (l *large) Ask(_ context.Context, q Question) (any, error) {
	switch q.What {
	case AskHistory:
		h := progress.NewHistory(time.Now().Add(-30 * time.Hour))
		for i := range 30 * 360 {
			x := float64(i) / 360
			h.Add(progress.Sample{Records: 600 + 60*math.Sin(x) + 20*math.Sin(40*x), Failed: 2 + 2*math.Sin(x/3), Requests: 3.2, Latency: 5 + math.Sin(x/2), Slow: 8 + 2*math.Sin(x/2), InFlight: 16 + 2*math.Sin(x), Throttled: max(0, math.Sin(x/5)-0.8), CPU: 0.2 + 0.1*math.Sin(x)}, 10)
		}
		return h, nil
	case AskGraph:
		return l.graph(), nil
	case AskErrors:
		group := object{"table": "lead", "flag": "E", "class": "value", "code": "0x80044331", "column": "subject", "records": 93, "behind": 120, "cause": "The length of the 'subject' attribute of the 'lead' entity exceeded the maximum allowed length of 'N'.", "example": "The length of the 'subject' attribute of the 'lead' entity exceeded the maximum allowed length of '300'.", "examples": []string{"L-1", "L-22", "L-333"}}
		held := object{"table": "contact", "flag": "H", "class": "prevalidate", "records": 57, "behind": 0, "cause": "emailaddress1: longer than 100 characters", "example": "emailaddress1: longer than 100 characters", "examples": []string{"C-1"}}
		return object{"total": 150, "groups": []object{group, held, group}, "rejectedLines": 4}, nil
	case AskSnapshots:
		return object{"folder": "/backup", "every": 1800, "snapshots": []object{
			{"id": "20261130T0700-7f3a", "time": time.Now().Add(-20 * time.Minute), "size": 48 << 30, "added": 81_234_567, "encrypted": true, "summary": object{"processed": 62_000_000, "source": 100_000_000}},
			{"id": "20261130T0630-11c2", "time": time.Now().Add(-50 * time.Minute), "size": 48 << 30, "added": 93_234_567, "fault": "chunk 0f3c is damaged"}}}, nil
	case AskRows:
		return l.rows(q), nil
	case AskRecord:
		page := l.rows(q)
		return object{"columns": page["columns"], "row": page["rows"].([]object)[0], "record": object{"recordId": "0f8fad5b-d9cb-469f-a165-70867728950e", "requests": []object{{"pass": "insert", "method": "POST", "path": "accounts", "body": object{"accountid": "0f8fad5b-d9cb-469f-a165-70867728950e", "name": "Contoso", "numberofemployees": 12}}}},
			"failure": object{"class": "value", "http": 400, "code": "0x80044331", "message": "A validation error occurred.\nThe value 161 of 'name' exceeds the maximum length of 160."}}, nil
	case AskSQL:
		if q.SQL == "boom" {
			return nil, errors.New("no such table")
		}
		one := "<b>1</b>"
		return object{"columns": []string{"flag", "records"}, "rows": [][]*string{{&one, nil}}, "more": false, "seconds": 0.02}, nil
	}
	return nil, errors.New("an unknown question")
}

func (l *large) rows(q Question) object {
	name := "Contoso with a rather long name"
	columns, values := []string{"name", "accountnumber", "parentaccountid"}, []*string{&name, &name, nil}
	for i := range 20 {
		columns, values = append(columns, fmt.Sprintf("contoso_column%d", i)), append(values, &name)
	}
	var rows []object
	for i := range 50 {
		rows = append(rows, object{"number": i, "legacyKey": fmt.Sprintf("A-%d", i+17), "action": "I", "flag": []string{"P", "E"}[i%2], "pass": "main", "attempts": 1, "class": "value", "changed": "2026-11-30 07:00:00", "repairs": "name: trimmed", "values": values})
	}
	return object{"columns": columns, "rows": rows, "next": q.From + 50}
}

func (l *large) graph() object {
	var steps, edges []object
	for i, t := range l.state.Tables {
		steps = append(steps, object{"table": t.Name, "pass": "insert", "wave": i / 20, "reason": "nothing in this migration comes before it"})
		if i > 6 {
			edges = append(edges, object{"from": t.Name, "to": l.state.Tables[i/7].Name, "column": "parentid", "deferred": false})
		}
		if i%9 == 0 {
			edges = append(edges, object{"from": l.state.Tables[i/7].Name, "to": t.Name, "column": "primaryid", "deferred": true})
		}
	}
	edges = append(edges, object{"from": "contact", "to": "account", "column": "parentcustomerid", "deferred": false}, object{"from": "account", "to": "account", "column": "parentaccountid", "deferred": true})
	return object{"steps": steps, "edges": edges}
}
