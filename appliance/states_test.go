package appliance

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/sample"
)

// loadNow stages and loads.
func loadNow(t *testing.T, dir, url string) {
	t.Helper()
	p := reopen(t, dir, Staging, url)
	if _, err := p.Stage(t.Context(), nil, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	p.Close()
	p = reopen(t, dir, Loading, url)
	if _, err := p.Load(t.Context(), t.Context(), LoadOptions{SnapshotEvery: -1}); err != nil {
		t.Fatal(err)
	}
	p.Close()
}

// closable are tables with states, each with its states and their default reasons, and its reasons and their states.
var closable = []struct {
	name, set, state, status string
}{
	{"incident", "incidents", `0:1 1:5 2:6`, `1:0 11:0 5:1 51:1 6:2 61:2`},
	{"quote", "quotes", `0:1 1:2 2:4 3:5`, `1:0 2:1 4:2 5:3`},
	{"salesorder", "salesorders", `0:1 2:4 3:5`, `1:0 4:2 5:3`},
	{"invoice", "invoices", `0:1 2:4 3:5`, `1:0 4:2 5:3`},
	{"appointment", "appointments", `0:1 1:5 2:6`, `1:0 11:0 5:1 51:1 6:2 61:2`},
	{"contoso_thing", "contoso_things", `0:1 1:5`, `1:0 11:0 5:1 51:1`},
}

// closableSchema is the sample's with these tables.
func closableSchema(t *testing.T) *schema.Schema {
	options := func(text, key string) string {
		var out []string
		for _, pair := range strings.Fields(text) {
			value, of, _ := strings.Cut(pair, ":")
			out = append(out, fmt.Sprintf(`{"value":%s,"label":"V%s",%q:%s}`, value, value, key, of))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	var tables []string
	for _, c := range closable {
		tables = append(tables, fmt.Sprintf(`{"name":%[1]q,"schemaName":%[1]q,"entitySet":%[2]q,"primaryId":"%[1]sid","primaryName":"name","kind":%[6]q,"ownership":"user",
			"bulk":["create","update"],"columns":[{"name":"%[1]sid","schemaName":"Id","type":"uniqueid","required":"system","noUpdate":true},
			{"name":"name","schemaName":"Name","type":"text","maxLength":100},
			{"name":"statecode","schemaName":"StateCode","type":"state","noCreate":true,"options":%[4]s,"default":0},
			{"name":"statuscode","schemaName":"StatusCode","type":"status","options":%[5]s}]%[3]s}`,
			c.name, c.set, "", options(c.state, "defaultStatus"), options(c.status, "state"), map[bool]string{true: "activity", false: "standard"}[c.name == "appointment"]))
	}
	more, err := schema.Read(strings.NewReader(`{"version":1,"source":"test","tables":[` + strings.Join(tables, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Read(bytes.NewReader(sample.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	s.Tables = append(s.Tables, more.Tables...)
	if err := s.Write(&text); err != nil {
		t.Fatal(err)
	}
	if s, err = schema.Read(strings.NewReader(text.String())); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStatesToOneAnother: records go from every state and status reason to every other, with another name and without, and a
// rollback brings them back, in tables that close by actions, by plain writes, and refuse changes when they are closed.
func TestStatesToOneAnother(t *testing.T) {
	s := closableSchema(t)
	for _, settings := range []string{"on_conflict: skip", "on_conflict: merge, ids: server, match: [name]"} {
		t.Run(settings, func(t *testing.T) {
			url, _ := emulatedAs(t, s, 8, nil)
			files := map[string]string{}
			later := map[string]string{}
			var sources, tables []string
			type pair struct{ state, status string }
			want, back := map[string]string{}, map[string]string{}
			all := append(closable, struct{ name, set, state, status string }{"opportunity", "opportunities", "", "1:0 2:0 3:1 4:2 5:2"})
			for _, c := range all {
				var rows, new strings.Builder
				rows.WriteString("key,name,state,status\n")
				new.WriteString("key,name,state,status\n")
				n := 0
				for _, a := range strings.Fields(c.status) {
					for _, b := range strings.Fields(c.status) {
						for _, other := range []bool{false, true} {
							status, state, _ := strings.Cut(a, ":")
							status2, state2, _ := strings.Cut(b, ":")
							key := fmt.Sprintf("%s-%d", c.name, n)
							n++
							name := key
							if other {
								name += "!"
							}
							fmt.Fprintf(&rows, "%s,%s,%s,%s\n", key, key, state, status)
							fmt.Fprintf(&new, "%s,%s,%s,%s\n", key, name, state2, status2)
							back[key] = fmt.Sprint(key, " ", state, " ", status)
							want[key] = fmt.Sprint(name, " ", state2, " ", status2)
						}
					}
				}
				sources = append(sources, fmt.Sprintf("%s: {path: %[1]s.csv, types: text}", c.name))
				tables = append(tables, fmt.Sprintf("%s: {%s}", c.name, settings))
				files[c.name+".csv"], later[c.name+".csv"] = rows.String(), new.String()
				files["transform/"+c.name+".sql"] = "SELECT key AS legacy_key, name, state AS statecode, status AS statuscode FROM " + c.name
			}
			files["migration.yaml"] = "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {" + strings.Join(sources, ", ") + "}\ntables: {" + strings.Join(tables, ", ") + "}\n"
			dir := otherProject(t, url, s, files)
			check := func(what string, want map[string]string) {
				t.Helper()
				for _, c := range all {
					got := map[string]string{}
					for _, row := range plainRows(t, url, c.set) {
						got[strings.TrimSuffix(fmt.Sprint(row["name"]), "!")] = fmt.Sprint(row["name"], " ", row["statecode"], " ", row["statuscode"])
					}
					for key, w := range want {
						if strings.HasPrefix(key, c.name+"-") && got[key] != w {
							t.Errorf("%s: %s: got %s, want %s (was %s)", what, key, got[key], w, back[key])
						}
					}
				}
			}
			loadNow(t, dir, url)
			check("first", back)
			for name, text := range later {
				editSource(t, dir, name, files[name], text)
			}
			loadNow(t, dir, url)
			check("delta", want)
			rollBack(t, dir, url, RollbackOptions{Generation: "last"})
			check("back", back)
		})
	}
}

// appointmentSchema has appointments that can be scheduled, too.
func appointmentSchema(t *testing.T) *schema.Schema {
	s := closableSchema(t)
	three := int32(3)
	a := s.Table("appointment")
	for _, c := range a.Columns {
		switch c.Type {
		case schema.State:
			seven := int32(7)
			c.Options = append(c.Options, schema.Option{Value: 3, Label: "Scheduled", DefaultStatus: &seven})
		case schema.Status:
			c.Options = append(c.Options, schema.Option{Value: 7, Label: "Busy", State: &three})
			one := int32(1)
			c.Default = &one
		}
	}
	var text strings.Builder
	if err := s.Write(&text); err != nil {
		t.Fatal(err)
	}
	s, err := schema.Read(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// appointmentProject makes appointments of a.csv, whose rows need not say a status reason.
func appointmentProject(t *testing.T, url string, s *schema.Schema, settings, csv string) string {
	return otherProject(t, url, s, map[string]string{
		"migration.yaml":            "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {a: {path: a.csv, types: text}}\ntables: {appointment: {" + settings + "}}\n",
		"transform/appointment.sql": "SELECT key AS legacy_key, name, state AS statecode, nullif(status, '') AS statuscode FROM a",
		"a.csv":                     "key,name,state,status\n" + csv})
}

// appointmentLines are the appointments of the target.
func appointmentLines(t *testing.T, url string) string {
	var back []string
	for _, row := range plainRows(t, url, "appointments?$orderby=name") {
		back = append(back, fmt.Sprint(row["name"], " ", row["statecode"], " ", row["statuscode"]))
	}
	return strings.Join(back, ", ")
}

// TestReasonSaidLater: a status reason that a row says only now is set, as nobody changed the one that the state brought; of a
// record that somebody has opened it is not.
func TestReasonSaidLater(t *testing.T) {
	for _, policy := range []string{"skip", "merge"} {
		t.Run(policy, func(t *testing.T) {
			s := appointmentSchema(t)
			url, _ := emulatedAs(t, s, 8, nil)
			dir := appointmentProject(t, url, s, "on_conflict: "+policy, "A0,a0,1,\nA1,a1,1,\nA2,a2,0,\n")
			loadNow(t, dir, url)
			for _, row := range plainRows(t, url, "appointments") {
				if row["name"] == "a1" {
					sendAs(t, fmt.Sprintf("%s/api/data/v9.2/appointments(%s)", url, row["appointmentid"]), `{"statecode":0}`)
				}
			}
			editSource(t, dir, "a.csv", "A0,a0,1,", "A0,a0,1,51", "A1,a1,1,", "A1,a1,1,51")
			loadNow(t, dir, url)
			if got := appointmentLines(t, url); got != "a0 1 51, a1 0 1, a2 0 1" {
				t.Errorf("got %s, want a0 1 51, a1 0 1, a2 0 1", got)
			}
		})
	}
}

// TestReasonGoesBack: a state that is given without a reason brings one; a rollback gives back the one from before.
func TestReasonGoesBack(t *testing.T) {
	s := appointmentSchema(t)
	url, _ := emulatedAs(t, s, 8, nil)
	dir := appointmentProject(t, url, s, "on_conflict: skip", "A0,a0,0,11\nA1,a1,2,61\nA2,a2,0,1\n")
	loadNow(t, dir, url)
	before := appointmentLines(t, url)
	editSource(t, dir, "a.csv", "A0,a0,0,11", "A0,a0,1,", "A1,a1,2,61", "A1,a1,0,")
	loadNow(t, dir, url)
	rollBack(t, dir, url, RollbackOptions{Generation: "last"})
	if got := appointmentLines(t, url); got != before {
		t.Errorf("got %s, want %s", got, before)
	}
}

// TestBackAfterOthersState: a row is back whose record was made inactive, and somebody has given it another state since: it stays,
// also where the transform yields a state.
func TestBackAfterOthersState(t *testing.T) {
	for _, policy := range []string{"skip", "merge"} {
		t.Run(policy, func(t *testing.T) {
			s := appointmentSchema(t)
			url, _ := emulatedAs(t, s, 8, nil)
			dir := appointmentProject(t, url, s, "gone: deactivate, on_conflict: "+policy, "A0,a0,0,1\nA1,a1,0,1\n")
			loadNow(t, dir, url)
			editSource(t, dir, "a.csv", "A0,a0,0,1\n", "")
			loadNow(t, dir, url)
			for _, row := range plainRows(t, url, "appointments") {
				if row["name"] == "a0" {
					sendAs(t, fmt.Sprintf("%s/api/data/v9.2/appointments(%s)", url, row["appointmentid"]), `{"statecode":2,"statuscode":61}`)
				}
			}
			editSource(t, dir, "a.csv", "A1,a1", "A0,a0,0,1\nA1,a1")
			loadNow(t, dir, url)
			if got := appointmentLines(t, url); got != "a0 2 61, a1 0 1" {
				t.Errorf("got %s, want a0 2 61, a1 0 1", got)
			}
		})
	}
}

// TestInactiveStaysInRollback: what was inactive already when its row went was not changed, and so nothing of it goes back.
func TestInactiveStaysInRollback(t *testing.T) {
	s := appointmentSchema(t)
	url, _ := emulatedAs(t, s, 8, nil)
	dir := appointmentProject(t, url, s, "gone: deactivate", "A0,a0,0,1\nA1,a1,0,1\n")
	loadNow(t, dir, url)
	user := func(body string) {
		for _, row := range plainRows(t, url, "appointments") {
			if row["name"] == "a0" {
				sendAs(t, fmt.Sprintf("%s/api/data/v9.2/appointments(%s)", url, row["appointmentid"]), body)
			}
		}
	}
	user(`{"statecode":2,"statuscode":61}`)
	editSource(t, dir, "a.csv", "A0,a0,0,1\n", "")
	loadNow(t, dir, url)
	user(`{"statecode":0,"statuscode":11}`)
	rollBack(t, dir, url, RollbackOptions{Generation: "last"})
	rollBack(t, dir, url, RollbackOptions{Generation: "last", Overwrite: true})
	if got := appointmentLines(t, url); got != "a0 0 11, a1 0 1" {
		t.Errorf("got %s, want a0 0 11, a1 0 1", got)
	}
}

// TestMatchedIsClosed: a record that the target had, found by its key and closed there, gets its row's values.
func TestMatchedIsClosed(t *testing.T) {
	s := appointmentSchema(t)
	url, _ := emulatedAs(t, s, 8, nil)
	sendRaw(t, http.MethodPost, url+"/api/data/v9.2/appointments", `{"appointmentid":"a0000000-0000-0000-0000-000000000001","name":"a0"}`)
	sendRaw(t, http.MethodPatch, url+"/api/data/v9.2/appointments(a0000000-0000-0000-0000-000000000001)", `{"statecode":1,"statuscode":5}`)
	dir := appointmentProject(t, url, s, "match: [name], on_match: update", "A0,a0,1,5\nA1,a1,0,1\n")
	loadNow(t, dir, url)
	p := reopen(t, dir, Loading, url)
	list, _ := p.Failures(t.Context(), FailureFilter{Limit: 9})
	for _, f := range list.Errors {
		t.Errorf("%s failed: %s", f.LegacyKey, f.Message)
	}
}

// TestImagesOfClosed: closed records get other images, beside other columns or another state.
func TestImagesOfClosed(t *testing.T) {
	s, err := schema.Read(bytes.NewReader(sample.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	deal := s.Table("opportunity")
	deal.Columns = append(deal.Columns, &schema.Column{LogicalName: "contoso_scan", SchemaName: "contoso_Scan", Type: schema.Image, MaxSizeKB: 100})
	url, _ := emulatedAs(t, s, 8, nil)
	png := func(n string) string { return base64.StdEncoding.EncodeToString([]byte("\x89PNG" + n)) }
	dir := otherProject(t, url, s, map[string]string{
		"migration.yaml":            "version: 1\nname: shared\ntarget: {url: " + url + ", auth: none}\nsources: {deals: {path: d.csv, types: text}}\n",
		"transform/opportunity.sql": "SELECT key AS legacy_key, key AS stepname, name, scan AS contoso_scan, CASE status WHEN '3' THEN 1 WHEN '4' THEN 2 ELSE 0 END AS statecode, status AS statuscode FROM deals",
		"d.csv":                     "key,name,scan,status\nO0,o0," + png("0") + ",3\nO1,o1," + png("1") + ",3\nO2,o2," + png("2") + ",1\nO3,o3," + png("3") + ",3\n"})
	loadNow(t, dir, url)
	editSource(t, dir, "d.csv", "O0,o0,"+png("0"), "O0,new,"+png("00"), "O1,o1,"+png("1"), "O1,o1,"+png("11"), "O3,o3,"+png("3")+",3", "O3,new,"+png("33")+",4")
	loadNow(t, dir, url)
	p := reopen(t, dir, Loading, url)
	list, _ := p.Failures(t.Context(), FailureFilter{Limit: 9})
	for _, f := range list.Errors {
		t.Errorf("%s failed: %s", f.LegacyKey, f.Message)
	}
	defer p.Close()
	var got []string
	for _, row := range plainRows(t, url, "opportunities?$orderby=stepname") {
		got = append(got, fmt.Sprint(row["stepname"], " ", row["name"], " ", row["statecode"], " ", row["contoso_scan"] != nil))
	}
	if all := strings.Join(got, ", "); all != "O0 new 1 true, O1 o1 1 true, O2 o2 0 true, O3 new 2 true" {
		t.Error(all)
	}
}
