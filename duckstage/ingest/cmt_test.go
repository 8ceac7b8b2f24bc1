package ingest

import (
	"archive/zip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// packed writes a zip file of these parts into a new folder.
func packed(t *testing.T, file string, parts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Create(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, text := range parts {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

const packageSchemaText = `<entities><entity name="a" primaryidfield="aid"><fields><field name="aid" type="guid" primaryKey="true"/><field name="name" type="string"/>
	<field name="owner" type="owner"/><field name="on" type="datetime"/><field name="ok" type="bool"/><field name="price" type="money"/></fields></entity></entities>`

const packageDataText = `<entities><entity name="a"><records>
	<record id="11111111-0000-0000-0000-000000000001"><field name="aid" value="11111111-0000-0000-0000-000000000001"/><field name="name" value="x &amp;#xA; y"/><field name="owner" value="22222222-0000-0000-0000-000000000001" lookupentity="systemuser" lookupentityname="Ann"/><field name="on" value="4/4/2019 7:22:50 PM"/><field name="ok" value="True"/><field name="price" value="1.0000000000"/></record>
	<record id="11111111-0000-0000-0000-000000000002"><field name="aid" value="11111111-0000-0000-0000-000000000002"/><field name="on" value="2019-04-04T19:22:50.1234567Z"/></record>
	<record id="11111111-0000-0000-0000-000000000003"><field name="aid" value="11111111-0000-0000-0000-000000000003"/><field name="on" value="13/13/2019"/></record>
	</records><m2mrelationships>
	<m2mrelationship sourceid="11111111-0000-0000-0000-000000000001" targetentityname="b" targetentitynameidfield="bid" m2mrelationshipname="a_b"><targetids><targetid>33333333-0000-0000-0000-000000000001</targetid><targetid>33333333-0000-0000-0000-000000000001</targetid><targetid>33333333-0000-0000-0000-000000000002</targetid></targetids></m2mrelationship>
	</m2mrelationships></entity></entities>`

func TestPackage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := packed(t, "p.zip", map[string]string{"data_schema.xml": packageSchemaText, "data.xml": packageDataText})
	src := Source{Name: "p", Dir: dir, Paths: []string{"p.zip"}, Format: CMT, MaxBadLines: 1}
	res := ingest(t, s, src)
	if diff := cmp.Diff([]Relation{{"p_a", 2, 1}, {"p_a_b", 2, 0}}, res.Relations); diff != "" {
		t.Error(diff)
	}
	got := table(t, s, "SELECT aid, name, owner, owner_table, owner_label, \"on\", ok, price, typeof(price), dm_source FROM source.p_a")
	if diff := cmp.Diff([]string{"11111111-0000-0000-0000-000000000001|x \n y|22222222-0000-0000-0000-000000000001|systemuser|Ann|2019-04-04 19:22:50|true|1.0000000000|DECIMAL(28,10)|p",
		"11111111-0000-0000-0000-000000000002|2019-04-04 19:22:50.123456|DECIMAL(28,10)|p"}, got); diff != "" {
		t.Error(diff)
	}
	if got := table(t, s, "SELECT aid, bid FROM source.p_a_b"); len(got) != 2 || got[1] != "11111111-0000-0000-0000-000000000001|33333333-0000-0000-0000-000000000002" {
		t.Errorf("links = %v", got)
	}
	if got := table(t, s, "SELECT source, file, message FROM dm.rejects"); len(got) != 1 || got[0] != `p_a|p.zip|key 11111111-0000-0000-0000-000000000003: column on: "13/13/2019" is not a date such as 4/4/2019 7:22:50 PM or 2019-04-04T19:22:50.0000000Z` {
		t.Errorf("rejects = %v", got)
	}
	// A package that no longer has a relationship leaves none behind.
	src.Dir = packed(t, "p.zip", map[string]string{"data_schema.xml": packageSchemaText, "data.xml": `<entities><entity name="a"><records/></entity></entities>`})
	ingest(t, s, src)
	if got := table(t, s, "SELECT string_agg(view_name, ',') FROM duckdb_views() WHERE schema_name = 'source'"); got[0] != "p_a" {
		t.Errorf("relations = %v", got)
	}
	if _, err := Preview(t.Context(), s, Source{Name: "q", Dir: dir, Paths: []string{"p.zip"}, Format: CMT}); err != nil {
		t.Error(err)
	}
}

// TestPackageOfActivities: texts are encoded for HTML, labels are not; parties have fields of
// their own within a field; a file column has its file's name beside its id; a record's
// id counts where the field of it is missing, and names the row in a message.
func TestPackageOfActivities(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const schema = `<entities dateMode="relativeDaily"><entity name="email" primaryidfield="activityid"><fields><field name="subject" type="string"/><field name="from" type="partylist"/><field name="to" type="partylist"/>
		<field name="x_doc" type="filedata"/><field name="x_kinds" type="optionsetvaluecollection"/><field name="regardingobjectid" type="entityreference"/><field name="prioritycode" type="optionsetvalue"/></fields></entity></entities>`
	const data = `<entities><entity name="email"><records>
	<record id="10000000-0000-0000-0000-000000000001"><field name="subject" value="Caf&amp;#233; &amp;amp; &amp;lt;b&amp;gt; &amp;amp;amp;"/>
		<field name="from" value="" lookupentity="" lookupentityname=""><activitypointerrecords id="20000000-0000-0000-0000-000000000001"><field name="activityid" value="10000000-0000-0000-0000-000000000001" lookupentity="activitypointer"/><field name="partyid" value="30000000-0000-0000-0000-000000000001" lookupentity="systemuser" lookupentityname="Ann &amp; Bob"/><field name="participationtypemask" value="1"/></activitypointerrecords></field>
		<field name="to" value=""><activitypointerrecords id="20000000-0000-0000-0000-000000000002"><field name="partyid" value="30000000-0000-0000-0000-000000000002" lookupentity="contact"/></activitypointerrecords><activitypointerrecords id="20000000-0000-0000-0000-000000000003"><field name="addressused" value="o&amp;#39;neil@x.y"/></activitypointerrecords></field>
		<field name="x_doc" value="40000000-0000-0000-0000-00000000000A" filename="plan.pdf"/><field name="x_kinds" value="[-1,100000000,-5,100000001,-1]"/><field name="regardingobjectid" value="30000000-0000-0000-0000-000000000002" lookupentity="contact" lookupentityname="R&amp;D"/></record>
	<record id="10000000-0000-0000-0000-000000000002"><field name="x_kinds" value="[-1,-1]"/><field name="subject" value="AT&amp;T said &quot;x &amp;amp; y&quot;"/></record>
	<record id="10000000-0000-0000-0000-000000000003"><field name="prioritycode" value="high"/></record>
	</records><m2mrelationships><m2mrelationship sourceid="10000000-0000-0000-0000-000000000001" targetentityname="b" targetentitynameidfield="bid" m2mrelationshipname="email_b"><targetids><targetid>
		33333333-0000-0000-0000-000000000001
	</targetid></targetids></m2mrelationship></m2mrelationships></entity></entities>`
	dir := packed(t, "p.zip", map[string]string{"data_schema.xml": schema, "data.xml": data})
	res := ingest(t, s, Source{Name: "p", Dir: dir, Paths: []string{"p.zip"}, Format: CMT, MaxBadLines: 1})
	if diff := cmp.Diff([]Relation{{"p_email", 2, 1}, {"p_email_parties", 3, 0}, {"p_email_b", 1, 0}}, res.Relations); diff != "" {
		t.Error(diff)
	}
	if len(res.Notes) != 1 || !strings.Contains(res.Notes[0], "p.zip: its dates are relative") {
		t.Errorf("notes = %q", res.Notes)
	}
	for query, want := range map[string][]string{
		"SELECT right(activityid::VARCHAR, 1), subject, x_doc::VARCHAR, x_doc_filename, x_doc_path, x_kinds, regardingobjectid_table, regardingobjectid_label FROM source.p_email": {
			"1|Café & <b> &amp;|40000000-0000-0000-0000-00000000000A|plan.pdf|p:files/40000000-0000-0000-0000-00000000000a.bin|100000000,-5,100000001|contact|R&D", `2|AT&T said "x &amp; y"`},
		`SELECT right(activityid::VARCHAR, 1), field, place, right(partyid::VARCHAR, 1), partyid_table, partyid_label, addressused FROM source.p_email_parties`: {
			"1|from|1|1|systemuser|Ann & Bob", "1|to|1|2|contact", "1|to|2|o'neil@x.y"},
		"SELECT right(activityid::VARCHAR, 1), right(bid::VARCHAR, 1) FROM source.p_email_b": {"1|1"},
		"SELECT message FROM dm.rejects": {`key 10000000-0000-0000-0000-000000000003: column prioritycode: "high" is not an option's value`},
	} {
		if diff := cmp.Diff(want, table(t, s, query)); diff != "" {
			t.Errorf("%s:\n%s", query, diff)
		}
	}
}

// TestPackageFilesAreReadAnywhere: forwards, backwards and to their ends; two packages are one.
func TestPackageFilesAreReadAnywhere(t *testing.T) {
	t.Parallel()
	dir := packed(t, "a.zip", map[string]string{"data.xml": "<entities/>", "files/A.bin": "0123456789", "files/b.bin": ""})
	other := packed(t, "b.zip", map[string]string{`files\c.BIN`: "c", "filesystem.txt": "no"})
	p, err := OpenPackageFiles(Source{Name: "p", Dir: dir, Paths: []string{"a.zip", filepath.Join(other, "b.zip")}, Format: CMT})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	sizes := map[string]int64{}
	_ = p.Each(func(path string, size int64, _ time.Time) error { sizes[path] = size; return nil })
	if diff := cmp.Diff(map[string]int64{"p:files/a.bin": 10, "p:files/b.bin": 0, "p:files/c.bin": 1}, sizes); diff != "" {
		t.Error(diff)
	}
	f, err := p.Open("p:files/a.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		at, n int64
		want  string
		end   bool
	}{{0, 3, "012", false}, {5, 2, "56", false}, {1, 2, "12", false}, {8, 5, "89", true}, {0, 10, "0123456789", false}, {10, 1, "", true}} {
		b := make([]byte, c.n)
		n, err := f.(io.ReaderAt).ReadAt(b, c.at)
		if string(b[:n]) != c.want || errors.Is(err, io.EOF) != c.end || err != nil && !c.end {
			t.Errorf("%d bytes at %d: %q, %v", c.n, c.at, b[:n], err)
		}
	}
	if _, err := p.Open("p:files/d.bin"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "a.zip") {
		t.Error(err)
	}
}

func TestBadPackages(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, c := range []struct {
		name  string
		parts map[string]string
		want  string
	}{
		{"no data", map[string]string{"data_schema.xml": packageSchemaText}, "p.zip: no data.xml in it"},
		{"damaged", map[string]string{"data_schema.xml": packageSchemaText, "data.xml": packageDataText[:600]}, "p.zip: data.xml is damaged"},
		{"a table that the schema lacks", map[string]string{"data_schema.xml": "<entities/>", "data.xml": packageDataText}, `data.xml line 1: table "a" is not in data_schema.xml`},
		{"a field that the schema lacks", map[string]string{"data_schema.xml": strings.Replace(packageSchemaText, `"ok"`, `"okay"`, 1), "data.xml": packageDataText}, `data.xml line 2: field "ok" of table a is not in data_schema.xml`},
	} {
		if _, err := Run(t.Context(), s, Source{Name: "p", Dir: packed(t, "p.zip", c.parts), Paths: []string{"p.zip"}, Format: CMT}, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v, want %s", c.name, err, c.want)
		}
	}
}

func TestRealPackages(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(filepath.Dir(sharedData(t)), "cmt")
	for _, c := range []struct {
		file   string
		tables int
		rows   int64
		links  int64
		text   string // what a text that is encoded in the file says
	}{
		{"education-2018.zip", 23, 7310, 14, "SELECT count(*) FROM source.edu_mshied_areaofinterest WHERE mshied_name = 'Children''s books'"},
		{"nonprofit-2018.zip", 41, 737, 2, "SELECT least(1, count(*)) FROM source.edu_account WHERE address1_stateorprovince = 'Île-de-France'"},
	} {
		s := newStage(t)
		res := ingest(t, s, Source{Name: "edu", Dir: dir, Paths: []string{c.file}, Format: CMT})
		var records, links int64
		tables := 0
		for _, rel := range res.Relations {
			if n := table(t, s, "SELECT count(*) FROM duckdb_columns() WHERE schema_name = 'source' AND table_name = '"+rel.Name+"'"); n[0] == "4" {
				links += rel.Rows
			} else {
				tables++
				records += rel.Rows
			}
		}
		t.Logf("%s: %d tables, %d records, %d links, %d rejected", c.file, tables, records, links, res.Rejected)
		if n := table(t, s, c.text); n[0] != "1" {
			t.Errorf("%s: %s = %s", c.file, c.text, n[0])
		}
		if tables != c.tables || records != c.rows || links != c.links || res.Rejected != 0 {
			t.Errorf("%s: %d records of %d tables, %d links, %d rejected", c.file, records, tables, links, res.Rejected)
		}
	}
}
