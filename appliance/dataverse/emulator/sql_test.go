package emulator

import (
	"strings"
	"testing"
)

// TestSQL tries what Microsoft's Python client says the SQL read endpoint takes.
func TestSQL(t *testing.T) {
	e := orgChart(t)
	for _, c := range []struct{ sql, want string }{
		{"SELECT accountnumber FROM account", "12345"},
		{"select accountnumber from account where name = 'beta'", "2"},
		{"SELECT accountnumber FROM account WHERE name = 'O''Delta'", "4"},
		{"SELECT accountnumber FROM account WHERE numberofemployees > 10 AND NOT IN", "!"},
		{"SELECT accountnumber FROM account WHERE numberofemployees > 10 ORDER BY numberofemployees DESC", "32"},
		{"SELECT accountnumber FROM account WHERE numberofemployees >= 10 AND (name LIKE 'a%' OR name LIKE '%ta')", "12"},
		{"SELECT accountnumber FROM account WHERE accountnumber IN ('A-1','A-4') OR numberofemployees BETWEEN 25 AND 35", "134"},
		{"SELECT accountnumber FROM account WHERE accountnumber NOT IN ('A-1','A-4')", "235"},
		{"SELECT accountnumber FROM account WHERE name IS NULL OR numberofemployees IS NOT NULL", "1235"},
		{"SELECT accountnumber FROM account WHERE name != 'Alpha' AND name IS NOT NULL", "234"},
		{"SELECT accountnumber FROM account WHERE creditonhold = 1", "1"},
		{"SELECT accountnumber FROM account WHERE createdon = modifiedon", "12345"},
		{"SELECT TOP 2 accountnumber FROM account ORDER BY accountnumber DESC", "54"},
		{"SELECT TOP 0 accountnumber FROM account", ""},
		{"SELECT accountnumber FROM account ORDER BY accountnumber OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY", "23"},
		{"SELECT a.accountnumber FROM account AS a INNER JOIN contact c ON a.primarycontactid = c.contactid WHERE c.firstname = 'Ann'", "1"},
		{"SELECT a.accountnumber FROM account a JOIN contact c ON c.contactid = a.primarycontactid ORDER BY c.firstname DESC", "21"},
		{"SELECT a.accountnumber FROM account a LEFT JOIN contact c ON c.parentcustomerid = a.accountid WHERE c.contactid IS NULL", "2345"},
		{"SELECT [accountnumber] FROM [account] WHERE [accountid] = '" + gid(1, 3) + "';", "3"},
		{"SELECT * FROM account", "!"},
		{"SELECT accountnumber FROM contact", "!"},
		{"SELECT accountnumber FROM account WHERE (SELECT 1)", "!"},
		{"SELECT UPPER(name) FROM account", "!"},
		{"SELECT accountnumber FROM account RIGHT JOIN contact ON 1=1", "!"},
		{"SELECT accountnumber FROM account UNION SELECT accountnumber FROM account", "!"},
		{"SELECT name, COUNT(*) FROM account", "!"},
		{"SELECT z.name FROM account", "!"},
		{"DELETE FROM account", "!"},
		{"SELECT accountnumber FROM account WHERE name = 'open", "!"},
		{"SELECT accountnumber FROM account WHERE " + strings.Repeat("(", 100) + "name = 'x'", "!"},
		{"", "!"},
	} {
		path := "accounts?" + query("sql", c.sql)
		if c.want == "!" {
			e.want(400, "0x80040203", "GET", path, "")
		} else if got := e.list(path).numbers(); got != c.want {
			t.Errorf("%s: answers %q, want %q", c.sql, got, c.want)
		}
	}
	joined := e.list("accounts?" + query("sql", "SELECT a.name AS firm, c.fullname, a.primarycontactid FROM account a JOIN contact c ON a.primarycontactid = c.contactid WHERE c.lastname = 'Ek'")).Value
	if len(joined) != 1 || joined[0]["firm"] != "Alpha" || joined[0]["fullname"] != "Ann Ek" || joined[0]["_primarycontactid_value"] != gid(2, 1) {
		t.Errorf("a join: %v", joined)
	}
	sums := e.list("accounts?" + query("sql", "SELECT accountcategorycode AS cat, COUNT(*) AS n, SUM(numberofemployees) AS s, AVG(numberofemployees) AS a, COUNT(DISTINCT name) d FROM account WHERE accountcategorycode IS NOT NULL GROUP BY accountcategorycode ORDER BY n DESC")).Value
	if len(sums) != 2 || sums[0]["cat"] != 2.0 || sums[0]["n"] != 2.0 || sums[0]["s"] != 50.0 || sums[0]["a"] != 25.0 || sums[0]["d"] != 2.0 {
		t.Errorf("aggregates: %v", sums)
	}
	if rows := e.list("accounts?" + query("sql", "SELECT DISTINCT statecode FROM account")).Value; len(rows) != 1 {
		t.Errorf("distinct: %v", rows)
	}
}

// TestSQLPages follows the nextLinks of a statement without TOP.
func TestSQLPages(t *testing.T) {
	e := orgChart(t)
	for order, want := range map[string]string{"": "12345", " ORDER BY accountnumber DESC": "54321"} {
		got := ""
		for path := "accounts?" + query("sql", "SELECT accountnumber FROM account"+order); path != ""; {
			page := e.list(path, "Prefer", "odata.maxpagesize=2")
			got += page.numbers()
			path = page.Next
		}
		if got != want {
			t.Errorf("order %q: %s, want %s", order, got, want)
		}
	}
}

func FuzzSQL(f *testing.F) {
	for _, s := range []string{"SELECT TOP 2 a.name AS n, COUNT(*) FROM account AS a LEFT JOIN contact c ON a.primarycontactid = c.contactid WHERE (c.lastname LIKE '%x' OR a.name IN ('1','2')) GROUP BY a.name ORDER BY n DESC OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY", "SELECT [name] FROM account WHERE x BETWEEN -1 AND 2.5 AND y IS NOT NULL;"} {
		f.Add(s)
	}
	srv, err := New(Options{Schema: world(f)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := &call{srv: srv, table: srv.model.byName["account"]}
		x, err := c.parseSQL(text)
		if err != nil || x.valid() != nil {
			return
		}
		if q, err := c.bindFetch(x); err == nil {
			_, _ = q.window()
			_, _ = q.indexed()
		}
	})
}
