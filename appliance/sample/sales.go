package sample

// leadStatus is a function of the row's number, so that others find the
// qualified ones (see qualifiedLead).
func leadStatus(i int) string {
	switch i % 5 {
	case 0:
		return "new"
	case 1:
		return "contacted"
	case 2, 3:
		return "qualified"
	}
	return []string{"lost", "no answer", "no interest", "void"}[i/5%4]
}

// leadRow: one line of leads.csv.
func (p *plan) leadRow(l *line, i int) {
	r := p.row('l', i)
	first, last := &firstNames[r.below(len(firstNames))], &lastNames[r.below(len(lastNames))]
	l.lead(i)
	l.text(r.of(topics))
	l.text(first.text)
	l.text(last.text)
	l.text(r.of(companyNames))
	l.join(first.ascii, ".", last.ascii, "@lead.example")
	l.phone(r, &towns[r.below(len(towns))])
	l.text(r.of(leadSources))
	l.text(r.of([]string{"1", "2", "3", ""}))
	l.num(r.below(900))
	l.cents(r.below(90_000_00))
	l.text(r.currency())
	status := leadStatus(i)
	l.text(status)
	if status == "qualified" {
		l.company(p.company(r.below(p.companies)))
		l.person(p.person(r.below(p.people)))
	} else {
		l.empty()
		l.empty()
	}
	l.text(r.of(owners))
	created := r.anyDay()
	l.date(created)
	l.date(created + 20 + r.below(200))
}

// brokenLead: a line that a comma without quotes splits into one field too many.
func (p *plan) brokenLead(l *line, i int) {
	l.key("L-9", i, 6)
	l.join("Pumps, valves,Ann,Ek,Contoso,ann@lead.example,,Web,1,10,1.00,EUR,new,,,AKELLER,2020-01-01,2020-03-01")
}

// dealRow: one line of deals.csv. Half are closed.
func (p *plan) dealRow(l *line, i int) {
	r, wrong := p.row('d', i), p.dealFault(i)
	created := r.anyDay()
	stage := r.of([]string{"Offen", "Offen", "Pausiert", "Gewonnen", "Gewonnen", "Verloren", "Abgesagt"})
	if wrong == badNumber {
		stage = "Offen" // a won deal would carry the bad number twice
	}
	closed := stage != "Offen" && stage != "Pausiert"
	l.deal(i)
	l.text(r.of(topics))
	if i%8 == 7 { // a private customer
		l.empty()
		l.person(p.person(r.below(p.people)))
	} else {
		c := p.company(r.below(p.companies))
		l.company(c)
		if i%2 == 0 {
			l.person(p.person(c))
		} else {
			l.empty()
		}
	}
	if i%4 == 0 {
		l.lead(p.qualifiedLead(i))
	} else {
		l.empty()
	}
	l.text(stage)
	if wrong == badNumber {
		l.text("12 T€ netto")
	} else {
		l.centsDE(100_00 + r.below(250_000_00))
	}
	l.text(r.currency())
	l.num(5 * r.below(21))
	l.dateDE(created + 30 + r.below(120))
	if closed {
		l.dateDE(created + 10 + r.below(150))
	} else {
		l.empty()
	}
	l.text(r.of(needs))
	l.text(r.of(owners))
	l.dateDE(created)
}

// articleRow: one line of articles.csv.
func (p *plan) articleRow(l *line, i int) {
	r := p.row('a', i)
	name := r.of(articleNames)
	l.article(i)
	l.text(name)
	if name == "Service hour" {
		l.text("service")
		l.text("H")
	} else {
		l.text("goods")
		l.text(r.of([]string{"ST", "ST", "VE10"}))
	}
	l.cents(1_00 + r.below(9_000_00))
	l.text("EUR")
	l.num(r.below(500))
	l.cents(r.below(50_00))
	l.text(r.of(suppliers))
	l.text(r.of([]string{"no", "no", "no", "no", "yes"}))
	l.text(r.of([]string{"", "Stainless, V4A", "Nur auf Anfrage"}))
}
