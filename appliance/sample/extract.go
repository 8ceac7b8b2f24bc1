package sample

import (
	"bufio"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// extract is one source file: rows from to to-1 of what feeds one table.
type extract struct {
	path     string // in the project, with slashes
	table    string // logical name of the target table
	header   string // first line; none if empty
	sep      byte
	end      string // of a line
	from, to int
	row      func(l *line, i int)
	windows  bool                 // written in windows-1252
	bad      int                  // lines that cannot be read, spread between the rows
	badRow   func(l *line, i int) // writes one
}

// extracts lists all source files. Links come after what they link.
func (p *plan) extracts() []extract {
	half := p.people / 2
	const people = "PersonNo,Salutation,FirstName,LastName,BirthDate,Gender,CompanyNo,ReportsTo,Position,Department,Email,Phone,Mobile,Street,Zip,City,Country,Channel,NoMailing,Income,Currency,Owner,Created,Active,Notes"
	return []extract{
		{path: "sources/CUST.csv", table: "account", sep: ';', end: "\r\n", to: p.companies, row: p.companyRow, windows: true,
			header: "KDNR;FIRMA;FIRMA2;KONZERN;HAUPTKONTAKT;BRANCHE;TYP;REGION;UMSATZ;WHG;MITARB;KREDITLIMIT;SPERRE;STRASSE;PLZ;ORT;LAND;TEL;EMAIL;WEB;BETREUER;ANGELEGT;STATUS;BEMERKUNG"},
		{path: "sources/contacts-1.csv", table: "contact", sep: ',', end: "\n", to: half, row: p.personRow, header: people},
		{path: "sources/contacts-2.csv", table: "contact", sep: ',', end: "\n", from: half, to: p.people, row: p.personRow, header: people},
		{path: "sources/leads.csv", table: "lead", sep: ',', end: "\n", to: p.leads, row: p.leadRow, bad: p.faults[badLine], badRow: p.brokenLead,
			header: "LeadNo,Topic,FirstName,LastName,Company,Email,Phone,Source,Rating,Employees,Budget,Currency,Status,CustomerNo,PersonNo,Owner,Created,CloseDate"},
		{path: "sources/deals.csv", table: "opportunity", sep: ';', end: "\n", to: p.deals, row: p.dealRow,
			header: "DealNo;Title;CompanyNo;PersonNo;LeadNo;Stage;Value;Currency;Probability;ExpectedClose;ClosedOn;Need;Owner;Created"},
		{path: "sources/articles.csv", table: "product", sep: ',', end: "\n", to: p.articles, row: p.articleRow,
			header: "ArtNo,Name,Kind,Unit,Price,Currency,Stock,Weight,Supplier,Discontinued,Description"},
		{path: "sources/machines.tsv", table: "contoso_equipment", sep: '\t', end: "\n", to: p.machines, row: p.machineRow,
			header: "MachineNo\tSerial\tLabel\tHolderKind\tHolderNo\tPartOf\tArtNo\tCategory\tFeatures\tWarranty\tInstalled\tLastService\tServices\tHours\tLoad\tPrice\tCurrency\tStatus\tOwner\tRemarks"},
		{path: "sources/activities.ndjson", table: "task", end: "\n", to: p.tasks, row: p.taskRow},
		{path: "sources/person_leads.csv", table: "contactleads", sep: ',', end: "\n", to: p.interests, row: p.interestRow, header: "PersonNo,LeadNo"},
		{path: "sources/machine_operators.csv", table: "contoso_equipment_contact", sep: ',', end: "\n", to: p.operators, row: p.operatorRow, header: "MachineNo,PersonNo"},
	}
}

// write writes the file, row by row.
func (x *extract) write(dir string) error {
	return writeWhole(filepath.Join(dir, filepath.FromSlash(x.path)), func(f *os.File) error {
		w := bufio.NewWriterSize(f, 1<<18)
		if x.header != "" {
			w.WriteString(x.header + x.end)
		}
		l := &line{b: make([]byte, 0, 1024), sep: x.sep}
		for i := x.from; i < x.to; i++ {
			l.reset()
			x.row(l, i)
			if err := x.flush(w, l); err != nil {
				return err
			}
			if slot(i, x.to, x.bad) {
				l.reset()
				x.badRow(l, i)
				if err := x.flush(w, l); err != nil {
					return err
				}
			}
		}
		return w.Flush()
	})
}

func (x *extract) flush(w *bufio.Writer, l *line) error {
	if x.windows {
		l.b = toWindows1252(l.b)
	}
	l.b = append(l.b, x.end...)
	_, err := w.Write(l.b)
	return err
}

// windows1252 holds the characters of the sample's texts that windows-1252 has
// at another place than Unicode.
var windows1252 = map[rune]byte{'€': 0x80, 'Š': 0x8a, '’': 0x92, '–': 0x96, 'š': 0x9a, 'Ž': 0x8e, 'ž': 0x9e}

// toWindows1252 recodes b, which is UTF-8, in place.
func toWindows1252(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); {
		r, size := rune(b[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(b[i:])
		}
		c := byte(r)
		if r > 0xff {
			c = windows1252[r]
		}
		out = append(out, c)
		i += size
	}
	return out
}

// writeWhole lets fill write a file that appears at path whole or not at all.
func writeWhole(path string, fill func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already once renamed
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	return err
}

// syncFolder makes a rename last. Where a folder cannot be synced, as on Windows,
// the rename is as durable as the system makes it.
func syncFolder(dir string) error {
	if os.PathSeparator == '\\' {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
