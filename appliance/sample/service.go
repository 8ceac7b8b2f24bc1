package sample

import (
	"strconv"
)

// machineRow: one line of machines.tsv.
func (p *plan) machineRow(l *line, i int) {
	r := p.row('m', i)
	l.machine(i)
	serial := i
	if p.machineFault(i) == duplicateKey {
		serial = i - 1
	}
	l.key("SN-", serial*7+100, 8)
	l.text(r.of(machineNames))
	if i%4 == 3 {
		l.text("P")
		l.person(p.person(r.below(p.people)))
	} else {
		l.text("C")
		l.company(p.company(r.below(p.companies)))
	}
	l.machine(p.parentMachine(i))
	if p.articles > 0 && i%5 != 0 {
		l.article(r.below(p.articles))
	} else {
		l.empty()
	}
	l.text(r.of([]string{"machine", "vehicle", "tool", "instrument"}))
	l.text(r.of(machineFeatures))
	l.text(r.of([]string{"yes", "no"}))
	installed := r.anyDay()
	l.date(installed)
	if r.below(3) == 0 {
		l.empty()
	} else {
		l.date(installed + r.below(300))
		l.clock(" ", r.below(24*60))
	}
	l.num(r.below(40))
	l.cents(r.below(30_000_00))
	l.join("0.")
	l.b = appendPadded(l.b, r.below(10_000), 4)
	l.cents(500_00 + r.below(80_000_00))
	l.text(r.currency())
	l.text(r.of([]string{"in use", "in use", "in use", "in repair", "sold", "scrapped"}))
	l.text(r.of(owners))
	l.text(r.of(machineRemarks))
}

// parentMachine is an earlier row, so that there is no circle.
func (p *plan) parentMachine(i int) int {
	if i%6 < 4 {
		return -1
	}
	if parent := p.machine(i - i%6); parent < i {
		return parent
	}
	return -1
}

// taskRow: one line of activities.ndjson.
func (p *plan) taskRow(l *line, i int) {
	r := p.row('t', i)
	created := r.anyDay()
	state := r.of([]string{"open", "open", "started", "waiting", "later", "done", "done", "done", "dropped"})
	l.b = append(l.b, `{"id":`...)
	l.b = strconv.AppendInt(l.b, int64(i+1), 10)
	l.jsonText("subject", r.of(subjects))
	l.jsonText("text", r.of(taskTexts))
	p.about(l, i, r)
	if p.taskFault(i) == badDate {
		l.jsonText("due", "2021-02-30T10:00:00Z")
	} else {
		l.jsonTime("due", created+r.below(60), r.below(24*60))
	}
	l.jsonText("state", state)
	if state == "done" {
		l.jsonTime("done_at", created+r.below(90), r.below(24*60))
	} else {
		l.b = append(l.b, `,"done_at":null`...)
	}
	l.jsonText("prio", r.of([]string{"low", "normal", "normal", "high"}))
	l.b = append(l.b, `,"minutes":`...)
	l.b = strconv.AppendInt(l.b, int64(5*r.below(50)), 10)
	l.jsonText("owner", r.of(owners))
	l.jsonTime("created", created, r.below(24*60))
	l.b = append(l.b, '}')
}

// about appends the record that a task regards, of one of three kinds or none.
func (p *plan) about(l *line, i int, r *random) {
	kind, prefix, of, width := "", "", -1, 0
	switch i % 7 {
	case 0, 1, 2:
		kind, of, width = "company", p.company(r.below(p.companies)), 7
	case 3, 4:
		kind, prefix, of, width = "person", "P", p.person(r.below(p.people)), 7
	case 5:
		kind, prefix, of, width = "deal", "OPP/", p.deal(r.below(p.deals)), 6
	default:
		l.b = append(l.b, `,"about":null,"about_no":null`...)
		return
	}
	l.jsonText("about", kind)
	l.b = append(append(l.b, `,"about_no":"`...), prefix...)
	l.b = append(appendPadded(l.b, of+1, width), '"')
}

func (l *line) jsonTime(name string, day, minute int) {
	l.b = append(append(append(l.b, `,"`...), name...), `":"`...)
	l.b = appendISO(l.b, day)
	l.clock("T", minute)
	l.b = append(l.b, `:00Z"`...)
}

// jsonText appends a member whose value is a text of the pools; empty is null.
func (l *line) jsonText(name, s string) {
	l.b = append(append(append(l.b, `,"`...), name...), `":`...)
	if s == "" {
		l.b = append(l.b, "null"...)
		return
	}
	l.b = append(l.b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			l.b = append(l.b, `\n`...)
		case c == '\t':
			l.b = append(l.b, `\t`...)
		case c == '"' || c == '\\':
			l.b = append(l.b, '\\', c)
		default:
			l.b = append(l.b, c)
		}
	}
	l.b = append(l.b, '"')
}

// interestRow: one line of person_leads.csv. Two people at a time share a stretch
// of the people; each person is interested in two leads.
func (p *plan) interestRow(l *line, i int) {
	l.person(p.person(i / 2 * 2 * (p.people / p.interests)))
	l.lead((i*3 + i%2) % p.leads)
}

// operatorRow: one line of machine_operators.csv; no machine comes twice.
func (p *plan) operatorRow(l *line, i int) {
	l.machine(p.machine(i * (p.machines / p.operators)))
	l.person(p.person(i * 2))
}
