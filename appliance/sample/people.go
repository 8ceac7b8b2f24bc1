package sample

import "strconv"

// Days since 1970-01-01.
const (
	firstDay = 15340 // 2012-01-01
	lastDay  = 19874 // 2024-05-31
)

// anyDay picks a day on which something may have been created.
func (r *random) anyDay() int { return firstDay + r.below(lastDay-firstDay) }

// currency is mostly euros.
func (r *random) currency() string {
	if r.below(5) == 0 {
		return "USD"
	}
	return "EUR"
}

func (l *line) company(i int) { l.key("", keyOf(i), 7) }
func (l *line) person(i int)  { l.key("P", keyOf(i), 7) }
func (l *line) lead(i int)    { l.key("L-", keyOf(i), 6) }
func (l *line) deal(i int)    { l.key("OPP/", keyOf(i), 6) }
func (l *line) article(i int) { l.key("A-", keyOf(i), 5) }
func (l *line) machine(i int) { l.key("M", keyOf(i), 6) }

// keyOf numbers the rows of the old CRM from 1; -1 is no row.
func keyOf(i int) int {
	if i < 0 {
		return -1
	}
	return i + 1
}

func (l *line) address(r *random, t *town) {
	l.join(r.of(streets), " ", strconv.Itoa(1+r.below(180)))
	l.text(t.zip)
	l.text(t.name)
	l.text(t.country)
}

func (l *line) phone(r *random, t *town) {
	l.join(dialCodes[t.country], " ", t.dial, " ")
	l.b = strconv.AppendInt(l.b, int64(100000+r.below(900000)), 10)
}

// companyRow: one line of CUST.csv.
func (p *plan) companyRow(l *line, i int) {
	r, wrong := p.row('c', i), p.companyFault(i)
	l.company(i)
	l.text(r.of(companyNames))
	if wrong == tooLong {
		l.join("vormals ", longName, longName)
	} else {
		l.text(r.of(companyForms))
	}
	l.company(p.parentCompany(i))
	if i%3 != 2 {
		l.person(p.person(i))
	} else {
		l.empty()
	}
	if wrong == badOption {
		l.text("Raumfahrt")
	} else {
		l.text(r.of(branches))
	}
	l.text(r.of([]string{"K", "K", "K", "I", "L", "S"}))
	l.text(r.of([]string{"N", "S", "W", "O", "X", ""}))
	l.centsDE(r.below(1_000_000_000))
	l.text(r.currency())
	l.num(1 + r.below(4000))
	l.centsDE(1000_00 * r.below(80))
	l.text(r.of([]string{"N", "N", "N", "N", "J"}))
	t := &towns[r.below(len(towns))]
	l.address(r, t)
	l.phone(r, t)
	l.key("info@kunde", i+1, 7)
	l.b = append(l.b, ".example"...)
	l.key("https://www.kunde", i+1, 7)
	l.b = append(l.b, ".example"...)
	l.text(r.of(owners))
	l.dateDE(r.anyDay())
	l.clock(" ", 7*60+r.below(11*60))
	l.text(r.of([]string{"A", "A", "A", "A", "A", "A", "I"}))
	l.text(r.of(companyNotes))
}

// longName makes any company's name longer than 160 characters when doubled.
const longName = "Vereinigte Werkstätten für Anlagenbau, Instandhaltung und allgemeine Dienstleistungen mbH "

// parentCompany is further down the file, so that no order of reading is right by
// itself, and always a later row, so that there is no circle.
func (p *plan) parentCompany(i int) int {
	parent := -1
	switch {
	case i%100 == 99:
	case i%10 == 9:
		parent = i - i%100 + 99
	case i%10 <= 2:
		parent = i - i%10 + 9
	}
	if parent < 0 || parent >= p.companies {
		return -1
	}
	if parent = p.company(parent); parent <= i {
		return -1
	}
	return parent
}

// personRow: one line of contacts-1.csv or contacts-2.csv.
func (p *plan) personRow(l *line, i int) {
	r, wrong := p.row('p', i), p.personFault(i)
	first, last := &firstNames[r.below(len(firstNames))], &lastNames[r.below(len(lastNames))]
	l.person(i)
	l.text(r.of([]string{"Frau", "Herr", "Dr.", "Ms.", ""}))
	l.text(first.text)
	l.text(last.text)
	switch day := r.below(18000) - 6000; { // 1953 to 2002
	case wrong == earlyDate:
		l.text("1077-03-14")
	case r.below(3) == 0:
		l.empty()
	default:
		l.date(day)
	}
	l.text(r.of([]string{"m", "w", ""}))
	p.employer(l, i, wrong)
	l.text(r.of(positions))
	l.text(r.of(departments))
	l.join(first.ascii, ".", last.ascii, ".")
	l.b = append(strconv.AppendInt(l.b, int64(i+1), 10), "@mail.example"...)
	t := &towns[r.below(len(towns))]
	l.phone(r, t)
	l.phone(r, t)
	l.address(r, t)
	l.text(r.of(channels))
	l.text(r.of([]string{"0", "0", "0", "1"}))
	l.cents(r.below(200_000_00))
	l.text(r.currency())
	l.text(r.of(owners))
	l.date(r.anyDay())
	l.clock("T", r.below(24*60))
	l.b = append(l.b, ":00Z"...)
	l.text(r.of([]string{"1", "1", "1", "1", "1", "1", "1", "0"}))
	l.text(r.of(personNotes))
}

// employer appends the company that a person belongs to, or the person that they
// report to. The first people are the companies' main contacts.
func (p *plan) employer(l *line, i int, wrong kind) {
	switch {
	case wrong == orphan:
		l.key("99", i%100_000, 5)
		l.empty()
	case i%12 == 11:
		l.empty()
		l.empty()
	case i%12 == 10:
		l.empty()
		l.person(p.person(i - 5))
	default:
		l.company(p.company(i))
		l.empty()
	}
}
