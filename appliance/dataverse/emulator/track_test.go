package emulator

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestChangeTracking follows section 11: a first reading in pages, deltas with
// changes before deletions, an empty delta.
func TestChangeTracking(t *testing.T) {
	e := orgChart(t)
	first, link, got := collection{}, "accounts?"+query("$select", "accountnumber,name"), ""
	for link != "" {
		a := e.want(200, "", "GET", link, "", "Prefer", "odata.track-changes,odata.maxpagesize=2")
		if !strings.Contains(strings.Join(a.header.Values("Preference-Applied"), ","), "odata.track-changes") {
			t.Errorf("Preference-Applied: %v", a.header)
		}
		first = e.list(link, "Prefer", "odata.track-changes,odata.maxpagesize=2")
		got += first.numbers()
		link = first.Next
		if (first.Delta == "") == (first.Next == "") {
			t.Errorf("the delta link is on the last page and only there: %+v", first)
		}
		if link != "" && got == "12" { // a change during the first reading comes again
			e.want(204, "", "PATCH", "accounts("+gid(1, 1)+")", `{"name":"Alpha 2"}`)
		}
	}
	if got != "12345" || !strings.Contains(first.Delta, "$deltatoken=") {
		t.Errorf("first reading: %s, %s", got, first.Delta)
	}
	e.want(204, "", "POST", "accounts", `{"accountid":"`+gid(1, 6)+`","accountnumber":"A-6"}`)
	e.want(204, "", "PATCH", "accounts("+gid(1, 2)+")", `{"name":"beta 2"}`)
	e.want(204, "", "DELETE", "accounts("+gid(1, 4)+")", "")
	e.want(204, "", "POST", "accounts", `{"accountid":"`+gid(1, 7)+`"}`)
	e.want(204, "", "DELETE", "accounts("+gid(1, 7)+")", "")
	d := e.list(first.Delta)
	if d.numbers() != "162" || len(d.Value) != 5 || !strings.HasSuffix(d.Context, "#accounts(accountnumber,name)/$delta") {
		t.Errorf("delta: %s of %d rows, %s", d.numbers(), len(d.Value), d.Context)
	}
	gone := d.Value[3]
	if gone["id"] != gid(1, 4) || gone["reason"] != "deleted" || gone["@odata.context"] != e.url+"/$metadata#accounts/$deletedEntity" {
		t.Errorf("a deleted row: %v", gone)
	}
	if d.Value[4]["id"] != gid(1, 7) {
		t.Errorf("created and deleted between: %v", d.Value[4])
	}
	token := first.Delta[strings.Index(first.Delta, "$deltatoken="):]
	if a := e.want(200, "", "GET", "accounts/$count?"+token, ""); a.body != "5" {
		t.Errorf("changes counted: %s", a.body)
	}
	paged, link := "", first.Delta
	for link != "" {
		p := e.list(link, "Prefer", "odata.maxpagesize=1")
		paged, link = paged+p.numbers(), p.Next
	}
	if paged != "162" {
		t.Errorf("a delta in pages: %s", paged)
	}
	if again := e.list(d.Delta); len(again.Value) != 0 || again.Delta == "" {
		t.Errorf("nothing changed, and yet: %+v", again)
	}
}

func TestChangeTrackingRefuses(t *testing.T) {
	e := orgChart(t)
	for _, o := range []string{"$filter=name%20eq%20'x'", "$orderby=name", "$expand=primarycontactid", "$top=3"} {
		a := e.want(400, "0x80060888", "GET", "accounts?"+o, "", "Prefer", "odata.track-changes")
		name, _, _ := strings.Cut(o, "=")
		e.has(a, `The \"`+name+`\" query parameter isn't supported when Change Tracking is enabled.`)
	}
	e.want(400, "0x80044355", "GET", "contacts", "", "Prefer", "odata.track-changes")
	e.want(400, "0x80060888", "GET", "accounts?$deltatoken=nonsense", "")
	old := delta{5, time.Now().Add(-8 * 24 * time.Hour)}
	e.want(400, "0x80044352", "GET", "accounts?$deltatoken="+url.QueryEscape(old.String()), "")
}
