package sample

// The kinds of fault, as the keys of Summary.Faults. Each names the column in
// which it sits.
const (
	TooLong      = "too_long"      // account.name is longer than 160 characters
	BadOption    = "bad_option"    // account.industrycode: the map lacks the text, the transform makes it -1
	Orphan       = "orphan"        // contact.parentcustomerid points to a company that does not exist
	EarlyDate    = "early_date"    // contact.birthdate is before 1753-01-01
	BadNumber    = "bad_number"    // opportunity.estimatedvalue is no number
	BadDate      = "bad_date"      // task.scheduledend is no date
	DuplicateKey = "duplicate_key" // contoso_equipment.contoso_serial is that of the row before
	BadLine      = "bad_line"      // a line of leads.csv with too many fields; comes on top of Records
)

type kind int

const (
	tooLong kind = iota
	badOption
	orphan
	earlyDate
	badNumber
	badDate
	duplicateKey
	badLine
	kinds
	sound kind = -1
)

var kindNames = [kinds]string{TooLong, BadOption, Orphan, EarlyDate, BadNumber, BadDate, DuplicateKey, BadLine}

// plan says how many rows each extract has and which of them are wrong. A row is
// a pure function of the plan and its index, so that a row that points to another
// knows its key without having kept it.
type plan struct {
	seed      uint64
	companies int
	people    int
	leads     int
	deals     int
	articles  int
	tasks     int
	machines  int
	interests int // links of people to leads
	operators int // links of machines to people
	faults    [kinds]int
}

func newPlan(o Options) *plan {
	share := func(percent int) int { return o.Records * percent / 100 }
	p := &plan{
		seed: o.Seed, companies: share(20), leads: share(10), deals: share(12), articles: share(2),
		tasks: share(15), machines: share(6), interests: share(3), operators: share(2),
	}
	p.people = o.Records - p.companies - p.leads - p.deals - p.articles - p.tasks - p.machines - p.interests - p.operators
	for k := range p.faults {
		p.faults[k] = o.Faults / int(kinds)
		if k < o.Faults%int(kinds) {
			p.faults[k]++
		}
	}
	return p
}

// fault says what is wrong with row i of n in an extract that holds faults of the
// two kinds, spread evenly: first those of kind a, then those of kind b.
func (p *plan) fault(i, n int, a, b kind) kind {
	f := p.faults[a]
	if a != b {
		f += p.faults[b]
	}
	if !slot(i, n, f) {
		return sound
	}
	if i*f/n < p.faults[a] {
		return a
	}
	return b
}

// slot reports whether i is one of f indices spread evenly over n.
func slot(i, n, f int) bool {
	if f == 0 {
		return false
	}
	s := i * f / n
	return (2*s+1)*n/(2*f) == i
}

func (p *plan) companyFault(i int) kind { return p.fault(i, p.companies, tooLong, badOption) }
func (p *plan) personFault(i int) kind  { return p.fault(i, p.people, orphan, earlyDate) }
func (p *plan) dealFault(i int) kind    { return p.fault(i, p.deals, badNumber, badNumber) }
func (p *plan) taskFault(i int) kind    { return p.fault(i, p.tasks, badDate, badDate) }

func (p *plan) machineFault(i int) kind {
	return p.fault(i, p.machines, duplicateKey, duplicateKey)
}

// The four functions below find a row that may be pointed to: the one asked for
// or, if that is wrong, the next sound one.

func (p *plan) company(i int) int {
	return near(i%p.companies, p.companies, func(i int) bool { return p.companyFault(i) == sound })
}

func (p *plan) person(i int) int {
	return near(i%p.people, p.people, func(i int) bool { return p.personFault(i) == sound })
}

func (p *plan) deal(i int) int {
	return near(i%p.deals, p.deals, func(i int) bool { return p.dealFault(i) == sound })
}

// machine also passes over the row whose serial number the next one repeats.
func (p *plan) machine(i int) int {
	return near(i%p.machines, p.machines, func(i int) bool {
		return p.machineFault(i) == sound && (i+1 == p.machines || p.machineFault(i+1) == sound)
	})
}

// qualifiedLead finds a lead that was qualified (see leadStatus).
func (p *plan) qualifiedLead(i int) int { return i%((p.leads+2)/5)*5 + 2 }

func near(i, n int, fits func(int) bool) int {
	for j := i; j < n; j++ {
		if fits(j) {
			return j
		}
	}
	for i > 0 && !fits(i) {
		i--
	}
	return i
}

// random is the number stream of one row (splitmix64).
type random uint64

// row starts the stream of row i; salt tells the extracts apart.
func (p *plan) row(salt uint64, i int) *random {
	r := random(p.seed ^ salt<<56 ^ uint64(i)*0x9e3779b97f4a7c15)
	r.next()
	return &r
}

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (r *random) below(n int) int { return int(r.next() >> 1 % uint64(n)) }

// of picks one of the texts.
func (r *random) of(texts []string) string { return texts[r.below(len(texts))] }
