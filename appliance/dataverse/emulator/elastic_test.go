package emulator

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const elasticTable = `{"@odata.type":"Microsoft.Dynamics.CRM.EntityMetadata","SchemaName":"contoso_Event","OwnershipType":"UserOwned","TableType":"Elastic",
"Attributes":[{"@odata.type":"Microsoft.Dynamics.CRM.StringAttributeMetadata","SchemaName":"contoso_Name","IsPrimaryName":true,"MaxLength":50},
{"@odata.type":"Microsoft.Dynamics.CRM.IntegerAttributeMetadata","SchemaName":"contoso_N"}]}`

func elastic(t *testing.T, more ...func(*Options)) *env {
	e := start(t, more...)
	e.want(204, "", "POST", "EntityDefinitions", elasticTable)
	return e
}

func eventTargets(rows ...string) string {
	for i, r := range rows {
		rows[i] = `{"@odata.type":"Microsoft.Dynamics.CRM.contoso_event",` + r + `}`
	}
	return `{"Targets":[` + strings.Join(rows, ",") + `]}`
}

const bulkEvents = "contoso_events/Microsoft.Dynamics.CRM."

// TestElasticPartialSuccess: what can be written stays, and the details name the
// rest, only to a client that asks for annotations (6.3).
func TestElasticPartialSuccess(t *testing.T) {
	e := elastic(t)
	id := func(n int) string { return fmt.Sprintf(`"contoso_eventid":"%s"`, gid(9, n)) }
	e.want(200, "", "POST", bulkEvents+"CreateMultiple", eventTargets(id(1)))
	a := e.want(412, "0x80040237", "POST", bulkEvents+"CreateMultiple", eventTargets(id(2), id(1), id(3)), "Prefer", `odata.include-annotations="*"`)
	e.has(a, `"@Microsoft.PowerApps.CDS.ErrorDetails.Plugin.BulkApiErrorDetails":"[{\"RequestIndex\":1,\"Id\":\"`+gid(9, 1)+`\",\"StatusCode\":409}]"`)
	if n := e.srv.Stats().Rows["contoso_event"]; n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
	if a := e.do("POST", bulkEvents+"CreateMultiple", eventTargets(id(4), id(1))); strings.Contains(a.body, "BulkApiErrorDetails") {
		t.Errorf("details without being asked: %s", a.body)
	}
	// A row that is not valid fails the whole request before anything is written.
	e.want(400, "0x80044331", "POST", bulkEvents+"CreateMultiple", eventTargets(id(5), `"contoso_name":"`+strings.Repeat("x", 51)+`"`))
	if n := e.srv.Stats().Rows["contoso_event"]; n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
	e.want(204, "", "POST", bulkEvents+"DeleteMultiple", eventTargets(id(2), id(3)))
	a = e.want(404, "0x80040217", "POST", bulkEvents+"DeleteMultiple", eventTargets(id(1), id(3)), "Prefer", `odata.include-annotations="*"`)
	e.has(a, `\"RequestIndex\":1`, `\"StatusCode\":404`)
	var many []string
	for range 101 {
		many = append(many, `"contoso_n":1`)
	}
	e.want(400, "0x80040203", "POST", bulkEvents+"CreateMultiple", eventTargets(many...))
}

func TestElasticRowsThrottled(t *testing.T) {
	e := elastic(t, func(o *Options) { o.Faults = []Fault{rule(t, "kind=row-429,nth=2")} })
	a := e.want(429, "0x8005F103", "POST", bulkEvents+"CreateMultiple", eventTargets(`"contoso_n":1`, `"contoso_n":2`, `"contoso_n":3`), "Prefer", `odata.include-annotations="Microsoft.PowerApps.CDS.ErrorDetails.*"`)
	e.has(a, `\"RequestIndex\":1`, `\"StatusCode\":429`)
	if n := e.srv.Stats().Rows["contoso_event"]; n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

// TestElasticPartition addresses rows in and outside their default partition, and an
// upsert replaces the row (3.3, 6.3, trap 35).
func TestElasticPartition(t *testing.T) {
	e := elastic(t)
	row := "contoso_events(" + gid(9, 1) + ")"
	inP := "contoso_events(contoso_eventid=" + gid(9, 1) + ",partitionid='P')"
	a := e.want(204, "", "PATCH", inP, `{"contoso_name":"a","contoso_n":1}`)
	if a.header.Get("x-ms-session-token") == "" {
		t.Error("no session token")
	}
	e.want(404, "0x80040217", "GET", row, "")
	e.has(e.want(200, "", "GET", row+"?partitionId=P", ""), `"partitionid":"P"`)
	e.want(204, "", "PATCH", inP, `{"contoso_name":"b"}`, "If-Match", "*")
	e.has(e.want(200, "", "GET", inP, ""), `"contoso_name":"b"`, `"contoso_n":1`)
	e.want(204, "", "PATCH", inP, `{"contoso_name":"c"}`)
	e.has(e.want(200, "", "GET", inP, ""), `"contoso_name":"c"`, `"contoso_n":null`, `"partitionid":"P"`)
	e.want(204, "", "POST", bulkEvents+"UpsertMultiple", eventTargets(`"@odata.id":"`+inP+`","contoso_n":5`))
	e.has(e.want(200, "", "GET", inP, ""), `"contoso_name":null`, `"contoso_n":5`)
	e.want(404, "0x80040217", "POST", bulkEvents+"UpdateMultiple", eventTargets(`"contoso_eventid":"`+gid(9, 1)+`","contoso_n":6`))
	e.want(204, "", "POST", bulkEvents+"UpdateMultiple", eventTargets(`"contoso_eventid":"`+gid(9, 1)+`","partitionid":"P","contoso_n":6`))
	e.want(204, "", "DELETE", row+"?partitionId=P", "")
	e.want(204, "", "POST", "contoso_events", `{"contoso_eventid":"`+gid(9, 2)+`"}`)
	e.has(e.want(200, "", "GET", "contoso_events("+gid(9, 2)+")", ""), `"partitionid":"`+gid(9, 2)+`"`)
}

// TestElasticChangeSet: what was written before the failure stays.
func TestElasticChangeSet(t *testing.T) {
	e := elastic(t)
	body := batch(changeSet(part("POST contoso_events", `{"contoso_eventid":"`+gid(9, 1)+`"}`, contentID(1)), part("POST contoso_events", `{"contoso_eventid":"`+gid(9, 1)+`"}`, contentID(2))))
	a := e.do("POST", "$batch", body, "Content-Type", batchType)
	e.has(a, "Content-ID: 2", "0x80040237")
	if n := e.srv.Stats().Rows["contoso_event"]; a.status != http.StatusPreconditionFailed || n != 1 {
		t.Errorf("answered %d, %d rows", a.status, n)
	}
}

// TestElasticTimeToLive: a row is gone when its time is over, sooner at speed, and its
// id is free.
func TestElasticTimeToLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited(t, Options{Speed: 60})
		direct(srv, "POST", "EntityDefinitions", elasticTable)
		one := "contoso_events(" + gid(9, 1) + ")"
		body := `{"contoso_eventid":"` + gid(9, 1) + `","ttlinseconds":600}`
		for range 2 {
			if a := direct(srv, "POST", "contoso_events", body); a.status != 204 {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			time.Sleep(8 * time.Second)
			if a := direct(srv, "GET", one, ""); a.status != 200 {
				t.Errorf("after 480 s: %d", a.status)
			}
			time.Sleep(3 * time.Second)
			if a := direct(srv, "GET", one, ""); a.status != 404 {
				t.Errorf("after 660 s: %d", a.status)
			}
			if a := direct(srv, "GET", "contoso_events", ""); strings.Contains(a.body, gid(9, 1)) {
				t.Errorf("a query still shows it: %s", a.body)
			}
		}
	})
}

// TestElasticKey: the key of id and partition is in the metadata, and an upsert by it
// answers with it (6.3, 3.3); nothing joins another table with a condition.
func TestElasticKey(t *testing.T) {
	e := elastic(t)
	e.has(e.want(200, "", "GET", "EntityDefinitions(LogicalName='contoso_event')/Keys?$select=SchemaName,KeyAttributes,EntityKeyIndexStatus", ""),
		`"SchemaName":"KeyForNoSqlEntityWithPKPartitionId"`, `"KeyAttributes":["contoso_eventid","partitionid"]`, `"Active"`)
	e.has(e.want(200, "", "GET", "$metadata", ""), `<PropertyValue Property="Name" PropertyPath="partitionid" />`)
	key := "contoso_events(contoso_eventid=" + gid(9, 1) + ",partitionid='P''1')"
	if a := e.want(204, "", "PATCH", key, `{"contoso_name":"x"}`); a.header.Get("OData-EntityId") != e.url+"/"+key {
		t.Errorf("OData-EntityId %s", a.header.Get("OData-EntityId"))
	}
	e.want(200, "", "GET", key+"?$select=contoso_name", "")
	link := func(filter string) string {
		return "contoso_events?" + query("fetchXml", `<fetch><entity name="contoso_event"><attribute name="contoso_name"/><link-entity name="systemuser" from="systemuserid" to="createdby">`+filter+`</link-entity></entity></fetch>`)
	}
	e.want(200, "", "GET", link(""), "")
	for _, path := range []string{link(`<filter><condition attribute="fullname" operator="not-null"/></filter>`), "contoso_events?" + query("$filter", "createdby/fullname ne null"),
		"contoso_events?" + query("$orderby", "createdby/fullname")} {
		e.has(e.want(400, "0x80048d0b", "GET", path, ""), "Link entities are not supported")
	}
}
