package emulator

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"dvmigrate/appliance/dataverse/schema"
)

// library is the small world with files, images, notes and attachments.
func library(t *testing.T) *schema.Schema {
	t.Helper()
	tables := worldTables()
	account := tables[0]
	account.HasNotes, account.PrimaryImage = true, "entityimage"
	account.Columns = append(account.Columns, col("contoso_doc", schema.File, func(c *schema.Column) { c.MaxSizeKB = 64 }),
		col("contoso_doc_name", schema.Text, func(c *schema.Column) { c.PartOf = "contoso_doc" }), col("entityimage", schema.Image), text("entityimage_url", 200),
		col("entityimage_timestamp", schema.BigInt), col("entityimageid", schema.UniqueID))
	note := tableOf("annotation", "Annotation", "annotations", "annotationid", "subject", text("subject", 500), text("notetext", 100000), text("filename", 255), text("mimetype", 256),
		col("documentbody", schema.Memo), col("isdocument", schema.YesNo), col("filesize", schema.Integer), lookup("objectid", "account"))
	note.ManyToOne = []schema.Relationship{rel("objectid", "account", "objectid_account", "Account_Annotation", "Cascade")}
	attachment := tableOf("activitymimeattachment", "ActivityMimeAttachment", "activitymimeattachments", "activitymimeattachmentid", "filename",
		text("filename", 255), text("subject", 200), text("mimetype", 256), col("body", schema.Memo), col("filesize", schema.Integer), lookup("objectid", "email"))
	attachment.ManyToOne = []schema.Relationship{rel("objectid", "email", "objectid_email", "email_attachments", "Cascade")}
	s, err := schema.New(append(tables, note, attachment), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func librarian(t *testing.T, more ...func(*Options)) *env {
	e := start(t, append([]func(*Options){func(o *Options) { o.Schema = library(t) }}, more...)...)
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`"}`)
	return e
}

const bytesType = "application/octet-stream"

// TestFileColumn writes, reads, replaces and clears a file, whole and in blocks, and
// finds it again after a restart (13.1).
func TestFileColumn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	e := librarian(t, func(o *Options) { o.StatePath = path })
	doc := "accounts(" + acc1 + ")/contoso_doc"
	e.want(204, "", "GET", doc+"/$value", "")
	e.want(204, "", "PATCH", doc, "hello file", "Content-Type", bytesType, "x-ms-file-name", "a.txt")
	a := e.want(200, "", "GET", doc+"/$value", "")
	if a.body != "hello file" || a.header.Get("x-ms-file-name") != "a.txt" || a.header.Get("x-ms-file-size") != "10" {
		t.Errorf("answered %q %v", a.body, a.header)
	}
	if a := e.want(206, "", "GET", doc+"/$value", "", "Range", "bytes=6-99"); a.body != "file" {
		t.Errorf("the range is %q", a.body)
	}
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"contoso_doc":null,"name":"x"}`)
	e.has(e.want(200, "", "GET", "accounts("+acc1+")?$select=contoso_doc,contoso_doc_name", ""), `"contoso_doc_name":"a.txt"`)
	e.want(400, "0x80044a02", "PATCH", doc, strings.Repeat("x", 65<<10), "Content-Type", bytesType, "x-ms-file-name", "big.bin")
	e.want(400, "0x80043E09", "PATCH", doc, "x", "Content-Type", bytesType, "x-ms-file-name", "run.EXE")

	token := field1(t, e.want(200, "", "POST", "InitializeFileBlocksUpload", `{"Target":{"accountid":"`+acc1+`","@odata.type":"Microsoft.Dynamics.CRM.account"},"FileName":"b.pdf","FileAttributeName":"contoso_doc"}`), "FileContinuationToken")
	for _, block := range []string{"1", "2"} {
		e.want(204, "", "POST", "UploadBlock", `{"BlockId":"`+b64(block)+`","BlockData":"`+b64("block "+block+";")+`","FileContinuationToken":"`+token+`"}`)
	}
	e.want(400, "0x80040203", "POST", "UploadBlock", `{"BlockId":"`+b64("longer")+`","BlockData":"","FileContinuationToken":"`+token+`"}`)
	commit := `{"FileName":"b.pdf","MimeType":"application/pdf","BlockList":["` + b64("2") + `","` + b64("1") + `"],"FileContinuationToken":"` + token + `"}`
	id := field1(t, e.want(200, "", "POST", "CommitFileBlocksUpload", commit), "FileId")
	e.want(400, "0x80040203", "POST", "CommitFileBlocksUpload", commit)
	if n := len(e.srv.store.files); n != 1 {
		t.Errorf("%d files are kept, want the one that is referred to", n)
	}

	e.srv.Close()
	again := start(t, func(o *Options) { o.Schema, o.StatePath = library(t), path })
	token = field1(t, again.want(200, "", "POST", "InitializeFileBlocksDownload", `{"Target":{"accountid":"`+acc1+`","@odata.type":"Microsoft.Dynamics.CRM.account"},"FileAttributeName":"contoso_doc"}`), "FileContinuationToken")
	data := field1(t, again.want(200, "", "POST", "DownloadBlock", `{"Offset":0,"BlockLength":4096,"FileContinuationToken":"`+token+`"}`), "Data")
	if data != b64("block 2;block 1;") {
		t.Errorf("downloaded %q", data)
	}
	again.want(204, "", "POST", "DeleteFile", `{"FileId":"`+id+`"}`)
	again.want(204, "", "GET", doc+"/$value", "")
	if n := len(again.srv.store.files); n != 0 {
		t.Errorf("%d files are kept after the last was deleted", n)
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func field1(t *testing.T, a answer, name string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(a.body), &fields); err != nil {
		t.Fatal(err)
	}
	s, _ := fields[name].(string)
	return s
}

// TestChunkedUpload sends a file in two chunks, and one that does not follow (13.1 B).
func TestChunkedUpload(t *testing.T) {
	e := librarian(t)
	a := e.want(200, "", "PATCH", "accounts("+acc1+")/contoso_doc?x-ms-file-name=c%20d.txt", "", "x-ms-transfer-mode", "chunked")
	to := a.header.Get("Location")
	if a.header.Get("x-ms-chunk-size") != "4194304" || to == "" {
		t.Fatalf("answered %v", a.header)
	}
	e.want(206, "", "PATCH", to, "first ", "Content-Range", "bytes 0-5/12", "Content-Type", bytesType)
	e.want(400, "0x80040203", "PATCH", to, "first ", "Content-Range", "bytes 0-5/12", "Content-Type", bytesType)
	e.want(204, "", "PATCH", to, "second", "Content-Range", "bytes 6-11/12", "Content-Type", bytesType)
	if a := e.want(200, "", "GET", "accounts("+acc1+")/contoso_doc/$value", ""); a.body != "first second" || a.header.Get("x-ms-file-name") != "c d.txt" {
		t.Errorf("answered %q %v", a.body, a.header)
	}
}

// TestImageAndNotes: an image in the row's JSON and raw; notes and attachments inline
// and in blocks (13.2, 13.3).
func TestImageAndNotes(t *testing.T) {
	e := librarian(t)
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"entityimage":"`+b64("GIF89a-image")+`"}`)
	if a := e.want(200, "", "GET", "accounts("+acc1+")/entityimage/$value?size=full", ""); a.body != "GIF89a-image" {
		t.Errorf("the image is %q", a.body)
	}
	e.want(204, "", "PATCH", "accounts("+acc1+")/entityimage", "\x89PNG", "Content-Type", bytesType, "x-ms-file-name", "i.png")
	e.has(e.want(200, "", "GET", "accounts("+acc1+")?$select=entityimage", ""), b64("\x89PNG"))

	a := e.want(201, "", "POST", "annotations", `{"subject":"s","filename":"a.txt","documentbody":"`+b64("note")+`","objectid_account@odata.bind":"accounts(`+acc1+`)"}`, "Prefer", "return=representation")
	e.has(a, `"isdocument":true`, `"filesize":4`)
	e.want(400, "0x80044a02", "POST", "annotations", `{"filename":"a.txt","documentbody":"`+b64(strings.Repeat("x", 5<<20+1))+`"}`)
	target := `{"annotationid":"` + gid(5, 1) + `","subject":"big","filename":"b.txt","@odata.type":"Microsoft.Dynamics.CRM.annotation","objectid_account@odata.bind":"accounts(` + acc1 + `)"}`
	token := field1(t, e.want(200, "", "POST", "InitializeAnnotationBlocksUpload", `{"Target":`+target+`}`), "FileContinuationToken")
	e.want(204, "", "POST", "UploadBlock", `{"BlockId":"`+b64("1")+`","BlockData":"`+b64("blocks")+`","FileContinuationToken":"`+token+`"}`)
	e.want(200, "", "POST", "CommitAnnotationBlocksUpload", `{"Target":`+target+`,"BlockList":["`+b64("1")+`"],"FileContinuationToken":"`+token+`"}`)
	e.has(e.want(200, "", "GET", "annotations("+gid(5, 1)+")", ""), b64("blocks"), `"_objectid_value":"`+acc1+`"`, `"filesize":6`)

	e.want(204, "", "POST", "emails", `{"activityid":"`+gid(6, 1)+`","subject":"m"}`)
	target = `{"activitymimeattachmentid":"` + gid(7, 1) + `","filename":"c.pdf","@odata.type":"Microsoft.Dynamics.CRM.activitymimeattachment","objectid_email@odata.bind":"emails(` + gid(6, 1) + `)"}`
	for _, status := range []int{200, 412} { // these actions only make new rows
		token = field1(t, e.want(200, "", "POST", "InitializeAttachmentBlocksUpload", `{"Target":`+target+`}`), "FileContinuationToken")
		e.want(204, "", "POST", "UploadBlock", `{"BlockId":"`+b64("1")+`","BlockData":"`+b64("pdf")+`","FileContinuationToken":"`+token+`"}`)
		code := ""
		if status == 412 {
			code = "0x80040237"
		}
		e.want(status, code, "POST", "CommitAttachmentBlocksUpload", `{"Target":`+target+`,"BlockList":["`+b64("1")+`"],"FileContinuationToken":"`+token+`"}`)
	}
	if a := e.want(200, "", "GET", "activitymimeattachments("+gid(7, 1)+")/body/$value", ""); a.body != b64("pdf") {
		t.Errorf("the attachment's body is %q", a.body)
	}
}

// TestFileRefusals: what the organization does not let in, sizes that the schema does
// not tell, images that are none, and what goes with an image (13.1, 13.2, 13.3).
func TestFileRefusals(t *testing.T) {
	e := librarian(t, func(o *Options) {
		tables := append(library(t).Tables, tableOf("organization", "Organization", "organizations", "organizationid", "name", text("name", 160),
			text("blockedattachments", 500), text("blockedmimetypes", 500), text("allowedmimetypes", 500), col("maxuploadfilesize", schema.Integer)))
		o.Schema, _ = schema.New(tables, nil)
		o.Seed = map[string]io.Reader{"organization": strings.NewReader(`{"organizationid":"` + OrganizationID.String() + `","blockedattachments":"zip; RAR","blockedmimetypes":"text/html","maxuploadfilesize":1000}`)}
	})
	doc := "accounts(" + acc1 + ")/contoso_doc"
	send := func(status int, code, name string) {
		t.Helper()
		e.want(status, code, "PATCH", doc, "x", "Content-Type", bytesType, "x-ms-file-name", name)
	}
	send(204, "", "run.exe") // not blocked here
	send(400, "0x80043E09", "a.rar")
	send(400, "0x80043E09", "a.html")
	e.want(400, "0x80043E09", "POST", "annotations", `{"filename":"a.zip","documentbody":"`+b64("x")+`"}`)
	e.want(400, "0x80043E09", "POST", "annotations", `{"filename":"a.txt","mimetype":"text/html","documentbody":"`+b64("x")+`"}`)
	e.want(400, "0x80044a02", "POST", "annotations", `{"filename":"a.txt","documentbody":"`+b64(strings.Repeat("x", 1001))+`"}`)

	row := "accounts(" + acc1 + ")"
	e.want(400, "0x80072553", "PATCH", row, `{"entityimage":"`+b64("no image")+`"}`)
	e.want(400, "0x80072553", "PATCH", row+"/entityimage", "no image", "Content-Type", bytesType, "x-ms-file-name", "i.png")
	e.want(400, "0x80044a02", "PATCH", row, `{"entityimage":"`+b64("GIF8"+strings.Repeat("x", defaultImageKB*1024))+`"}`)
	with := row + "?$select=entityimage_url,entityimage_timestamp,entityimageid"
	e.want(204, "", "PATCH", row, `{"entityimage":"`+b64("GIF8")+`"}`)
	e.has(e.do("GET", with, ""), `"entityimage_url":"/Image/download.aspx?`, `"entityimageid":"`+acc1+`"`)
	e.want(204, "", "PATCH", row, `{"entityimage":null}`)
	e.has(e.do("GET", with, ""), `"entityimage_url":null`, `"entityimage_timestamp":null`, `"entityimageid":null`)
}

// TestFileAttachments: what is kept of a file beside its row is there with the upload, is
// found by every query, cannot be written, outlives a restart, and goes with the file, its
// successor and its row (13.1; Web API reference, fileattachment).
func TestFileAttachments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	e := librarian(t, func(o *Options) { o.StatePath = path })
	doc := "accounts(" + acc1 + ")/contoso_doc"
	upload := func(content, name string) string {
		e.want(204, "", "PATCH", doc, content, "Content-Type", bytesType, "x-ms-file-name", name)
		return field1(t, e.want(200, "", "GET", "accounts("+acc1+")?$select=contoso_doc", ""), "contoso_doc")
	}
	all := "fileattachments?$select=filename,filesizeinbytes,mimetype,regardingfieldname,objecttypecode,_objectid_value&$filter=objecttypecode%20eq%20'account'"
	first := upload("hello", "a.txt")
	e.has(e.want(200, "", "GET", all, ""), `"fileattachmentid":"`+first+`"`, `"filesizeinbytes":5`, `"filename":"a.txt"`, `"mimetype":"text/plain; charset=utf-8"`,
		`"regardingfieldname":"contoso_doc"`, `"objecttypecode":"account"`, `"_objectid_value":"`+acc1+`"`)
	e.has(e.want(200, "", "GET", "accounts("+acc1+")?$select=accountid&$expand=account_FileAttachments($select=filesizeinbytes)", ""), `"account_FileAttachments":[{`, `"filesizeinbytes":5`)
	e.has(e.want(200, "", "GET", "$metadata", ""), `<EntityType Name="fileattachment"`, `Property Name="filesizeinbytes" Type="Edm.Int64"`, `NavigationProperty Name="objectid_account"`, `EntitySet Name="fileattachments"`)
	e.want(204, "", "PATCH", "accounts("+acc1+")", `{"name":"another version, the same file"}`)
	one := "fileattachments(" + first + ")"
	e.want(200, "", "GET", one, "")
	e.want(400, "0x80040800", "POST", "fileattachments", `{"filename":"x"}`)
	e.want(400, "0x80040800", "PATCH", one, `{"filename":"x"}`)
	e.want(400, "0x80040800", "DELETE", one, "")

	second := upload("hello again", "b.txt")
	if a := e.want(200, "", "GET", all, ""); strings.Contains(a.body, first) || !strings.Contains(a.body, second) || !strings.Contains(a.body, `"filesizeinbytes":11`) {
		t.Errorf("after another upload: %s", a.body)
	}
	e.srv.Close()
	e = start(t, func(o *Options) { o.Schema, o.StatePath = library(t), path })
	e.has(e.want(200, "", "GET", all, ""), second)
	e.want(204, "", "DELETE", doc, "")
	none := func(when string) {
		t.Helper()
		if a := e.want(200, "", "GET", "fileattachments", ""); !strings.Contains(a.body, `"value":[]`) {
			t.Errorf("%s: %s", when, a.body)
		}
	}
	none("the file is deleted")
	upload("third", "c.txt")
	e.want(204, "", "DELETE", "accounts("+acc1+")", "")
	none("its row is deleted")
}

// TestPrimaryImage: a $metadata document does not name the primary image, which a create
// may set; the system's is entityimage (section 13.2), whatever is added beside it.
func TestPrimaryImage(t *testing.T) {
	e := startWith(t, func(s *schema.Schema) {
		account := s.Table("account")
		account.Columns = append(account.Columns, col("entityimage", schema.Image), col("entityimageid", schema.UniqueID))
	})
	e.want(204, "", "POST", "EntityDefinitions(LogicalName='account')/Attributes", `{"@odata.type":"Microsoft.Dynamics.CRM.ImageAttributeMetadata","SchemaName":"contoso_Pic"}`)
	e.has(e.want(200, "", "GET", "EntityDefinitions(LogicalName='account')?$select=PrimaryImageAttribute", ""), `"PrimaryImageAttribute":"entityimage"`)
	image := b64("GIF89a-image")
	e.want(204, "", "POST", "accounts", `{"accountid":"`+acc1+`","entityimage":"`+image+`","contoso_pic":"`+image+`"}`)
	e.has(e.want(200, "", "GET", "accounts("+acc1+")?$select=entityimage,contoso_pic", ""), `"entityimage":"`+image+`","contoso_pic":null`)
}
