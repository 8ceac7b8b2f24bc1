package config

import (
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Config is a migration project's settings. Its fields may be set freely before
// Validate; afterwards it is only read.
//
// The tags of this struct and those below are the one table of what the file may say:
//
//	json   the key
//	doc    what it means (shown by editors, through JSONSchema)
//	need   "yes": may not be empty
//	enum   the words it may be
//	match  the regular expression that text must match
//	min    the least, max the greatest value of a number, duration or size
//	env    the environment variable, where it is not the one that follows from the path; "-" for none
//	short  "yes": a bare value in place of the mapping stands for this key alone
type Config struct {
	Version    int                   `json:"version" need:"yes" min:"1" max:"1" env:"-" doc:"Version of this file's format; always 1."`
	Name       string                `json:"name" need:"yes" match:"^[a-z0-9_-]+$" env:"-" doc:"Name of the project: small letters, digits, hyphen, underscore."`
	Target     Target                `json:"target" doc:"The Dataverse environment that is loaded, and how to sign in."`
	Schema     string                `json:"schema" need:"yes" doc:"File with the target's tables and columns, made by dvmigrate schema."`
	Transforms string                `json:"transforms" need:"yes" doc:"Folder with the SQL that makes each table's rows, one <table>.sql a table."`
	Files      string                `json:"files" need:"yes" doc:"Folder of the files whose content goes into file and image columns, notes and attachments."`
	Work       string                `json:"work" need:"yes" doc:"Folder of the stage, the ledger and temporary files."`
	Sources    map[string]Source     `json:"sources" match:"^[A-Za-z_][A-Za-z0-9_]*$" doc:"Source data, each under the name by which SQL refers to it: a path, a list of paths, or a mapping."`
	Tables     map[string]Table      `json:"tables" match:"^[a-z_][a-z0-9_]*$" doc:"What SQL cannot say about a table, under its logical name."`
	Repair     Repair                `json:"repair" doc:"What is done about values that the target would refuse, in every table; a table's own repair goes before it."`
	Checks     Checks                `json:"checks" doc:"Which of the checks before the load count."`
	Masking    Masking               `json:"masking" doc:"The key that sources' masks are made with."`
	Stage      Stage                 `json:"stage" doc:"The DuckDB file that source data are staged in."`
	Guard      Guard                 `json:"guard" doc:"When a staging stops and asks, because the sources may not be whole."`
	Load       Loading               `json:"load" doc:"How records are sent."`
	Reconcile  map[string]Comparison `json:"reconcile" match:"^(\\*|[a-z_][a-z0-9_]*)$" doc:"How a table is compared with the target and what it may have amiss, under its logical name; * stands for the tables that are not named."`
	Rollback   Rollback              `json:"rollback" doc:"What a way back needs."`
	Snapshots  Snapshots             `json:"snapshots" doc:"Copies of ledger and stage made while the project works."`
	Limits     Limits                `json:"limits" doc:"The target's service protection limits: ceilings of the load and figures of the estimate."`
	Log        Logging               `json:"log" doc:"What is written down while a command works on the project."`
	Alerts     Alerts                `json:"alerts" doc:"When somebody is called while a load runs, and how."`
	Estimate   Estimate              `json:"estimate" doc:"Figures for the offline estimate."`

	// Dir is the project folder, absolute; relative paths above start here.
	Dir string `json:"-"`

	origins map[string]origin // where each key was read, by path
	loaded  map[string]any    // each setting as Load left it, to know which a flag changed
}

// Target is the Dataverse environment and the way to sign in to it.
type Target struct {
	URL         string `json:"url" doc:"The environment's address, such as https://acme.crm4.dynamics.com; http only on this machine."`
	Auth        string `json:"auth" enum:"default,client-secret,certificate,managed-identity,workload-identity,azure-cli,device-code,none" doc:"Way to sign in; none only for an emulator on this machine."`
	Tenant      string `json:"tenant" doc:"Directory (tenant) id or domain."`
	Client      string `json:"client" doc:"Application (client) id."`
	Secret      Secret `json:"secret" doc:"Client secret, or the password of the certificate file; only as ${NAME}, never written out."`
	Certificate string `json:"certificate" doc:"PEM or PFX file with the application's certificate and key."`
	Token       Secret `json:"token" env:"DVMIGRATE_TOKEN" doc:"A ready bearer token, used instead of any other way to sign in; several, between blanks or commas, are as many users. Only as ${NAME}, never written out."`
	Cloud       string `json:"cloud" enum:"public,usgov,china" doc:"The cloud that the sign-in service belongs to."`
	Users       []User `json:"users" doc:"More application users that load, besides the one above; each has service protection limits of its own."`
}

// User is one identity that signs in to the target.
type User struct {
	Auth        string `json:"auth" enum:",default,client-secret,certificate,managed-identity,workload-identity,azure-cli,device-code,none" doc:"Way to sign in; when left out, that of target.auth."`
	Tenant      string `json:"tenant" doc:"Directory (tenant) id or domain; when left out, that of target.tenant."`
	Client      string `json:"client" doc:"Application (client) id."`
	Secret      Secret `json:"secret" doc:"Client secret, or the password of the certificate file; only as ${NAME}, never written out."`
	Certificate string `json:"certificate" doc:"PEM or PFX file with the application's certificate and key."`
	Token       Secret `json:"token" doc:"A ready bearer token, instead of any other way for this user to sign in; only as ${NAME}, never written out."`
}

// Source is one supply of rows: a file, or several of the same form, a database's table
// or query, or a table of another environment.
type Source struct {
	Path        []string `json:"path" short:"yes" or:"database,dataverse" doc:"File or files; * and ? stand for any characters. Relative paths start at the project folder."`
	Format      string   `json:"format" enum:",csv,parquet,json,ndjson,xlsx,cmt" doc:"Form of the file; cmt is a package of the Configuration Migration Tool; when left out, told by the ending of its name."`
	Delimiter   string   `json:"delimiter" doc:"What stands between columns; when left out, a comma, or a tab in a .tsv file. csv only."`
	Quote       string   `json:"quote" doc:"Character around values; empty for none. csv only."`
	Escape      string   `json:"escape" doc:"Character before a quote within quotes; when left out, the quote itself. csv only."`
	Header      bool     `json:"header" doc:"Whether the first line holds the column names. csv only."`
	Encoding    string   `json:"encoding" match:"^[a-z0-9_-]+$" doc:"Character set, such as utf-8, utf-16, latin-1, windows-1252. csv only."`
	Null        []string `json:"null" doc:"Texts that mean no value. csv only."`
	RowEnd      string   `json:"row_end" doc:"What ends a row, if not a line end. csv only."`
	Columns     []string `json:"columns" doc:"Names for the columns, instead of those in the header line. csv only."`
	Types       Types    `json:"types" doc:"Column types: text (values stay as they are in the file, so that 00123 keeps its zeros), auto (found by looking), or a mapping of column to DuckDB type, the others staying text, or to how its text is written: {decimal: \",\", thousands: \".\"} or {format: \"%d.%m.%Y\"}, with a type."`
	MaxBadLines int      `json:"max_bad_lines" min:"0" doc:"Lines that cannot be read are set aside and reported; with more than this the ingest stops."`
	MaxBad      string   `json:"max_bad" match:"^$|^[0-9]+([.][0-9]+)?%$" doc:"The same as a share of all lines, such as 0.1%; max_bad_lines does not count then."`

	Sheet     string `json:"sheet" doc:"Sheet of the workbook; when left out, the first. xlsx only."`
	Range     string `json:"range" match:"^$|^[A-Za-z]{1,3}[0-9]*:[A-Za-z]{1,3}[0-9]*$" doc:"Cells that are read, such as B4:F200 or A:F; when left out, all. xlsx only."`
	HeaderRow int    `json:"header_row" min:"0" doc:"Row with the column names; 0 for the first that is not empty. xlsx only."`
	Partition bool   `json:"partition" doc:"Whether folders named column=value on the way to a file are columns (hive partitions)."`

	Mask map[string]Mask `json:"mask" match:"^.+$" doc:"Columns that are masked while the source is read, so that no value of theirs reaches the stage: column to what it holds (name, company, address, email, phone, text, number, id, date, blank)."`

	Database string   `json:"database" enum:",postgres,mysql,mariadb,sqlserver,sqlite" doc:"Kind of database that rows come from."`
	DSN      Secret   `json:"dsn" doc:"Address of the database with user and password; only as ${NAME}, never written out. sqlite has a path instead."`
	Table    string   `json:"table" doc:"Table that is read: of the database, with its schema where it needs one, or of the environment, by its logical name."`
	Query    string   `json:"query" doc:"Query of the database whose rows are read, instead of a table."`
	Key      []string `json:"key" doc:"Columns whose ranges are read one by one, so that a reading goes on after a kill and several connections share the work; rows come in their order. When left out, the table's primary key or a unique index."`
	Parallel int      `json:"parallel" min:"0" max:"64" doc:"Connections, or requests, at once; 0 for one."`

	Feed      string   `json:"feed" enum:"full,changes,tombstones" doc:"What each reading delivers: all rows (full); the rows that are new or have changed, so that rows which are gone are not noticed (changes); or those and rows that say which are gone (tombstones)."`
	RowKey    []string `json:"row_key" doc:"Columns that tell one row from all others, by which changes are merged into what is there."`
	Tombstone string   `json:"tombstone" doc:"SQL condition of a row that says its namesake is gone, such as op = 'D'. feed: tombstones only."`
	Watermark string   `json:"watermark" doc:"Column of a database that grows with every change of a row, a time, a number or a rowversion: each reading takes the rows past what was seen before. feed: changes of a database only."`
	Overlap   string   `json:"overlap" doc:"How far before the highest watermark seen a reading begins, because of transactions that commit late: a duration, or a number; when left out, 10m or 1000."`
	ReadOnce  bool     `json:"read_once" doc:"Whether files that an earlier staging has merged are not read again. feed: changes and tombstones only."`

	Dataverse   string   `json:"dataverse" doc:"Address of an environment whose table is read."`
	Select      []string `json:"select" doc:"Columns of the environment's table, by logical name; when left out, all. dataverse only."`
	Filter      string   `json:"filter" doc:"OData filter for the records, such as statecode eq 0. dataverse only."`
	FetchXML    string   `json:"fetchxml" doc:"FetchXML query, instead of select and filter. dataverse only."`
	Delta       bool     `json:"delta" doc:"Whether only what has changed since the last staging is fetched and merged (change tracking). dataverse only."`
	Auth        string   `json:"auth" enum:",default,client-secret,certificate,managed-identity,workload-identity,azure-cli,device-code,none" doc:"Way to sign in to the environment. dataverse only."`
	Tenant      string   `json:"tenant" doc:"Directory (tenant) id or domain. dataverse only."`
	Client      string   `json:"client" doc:"Application (client) id. dataverse only."`
	Secret      Secret   `json:"secret" doc:"Client secret, or the password of the certificate file; only as ${NAME}, never written out. dataverse only."`
	Certificate string   `json:"certificate" doc:"PEM or PFX file with the application's certificate and key. dataverse only."`
	Token       Secret   `json:"token" doc:"A ready bearer token; only as ${NAME}, never written out. dataverse only."`
	Cloud       string   `json:"cloud" enum:",public,usgov,china" doc:"The cloud that the sign-in service belongs to. dataverse only."`
}

// BadShare is the share of lines that may be bad; 0 where none is given.
func (s Source) BadShare() float64 { return share(s.MaxBad) }

// share is a percentage as a number; 0 where none is given.
func share(text string) float64 {
	percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil {
		return 0
	}
	return percent / 100
}

// Table is what cannot be said in the table's SQL.
type Table struct {
	IDs         string   `json:"ids" enum:"assign,keep,server" doc:"Record ids: assign (made when staging, in the target's sort order), keep (the source's own GUIDs), or server (Dataverse assigns them; needs match)."`
	Match       []string `json:"match" doc:"Columns that tell one record of the target from all others, such as those of an alternate key; the transform yields them."`
	OnMatch     string   `json:"on_match" enum:"error,update,skip" doc:"What becomes of a row whose record the target has before it is loaded, told by match: it fails (error), the record gets the row's values (update), or stays as it is (skip)."`
	OnConflict  string   `json:"on_conflict" enum:"skip,overwrite,merge" doc:"What becomes of a changed row where somebody has changed the same columns of its record in the target since it was loaded: it is held back with the reason (skip), the record gets the row's values (overwrite), or only in the columns that nobody has changed there (merge)."`
	Gone        string   `json:"gone" enum:"report,delete,deactivate" doc:"What becomes of a record whose row the source no longer has: it is counted and stays (report), is deleted, or gets the inactive state (deactivate)."`
	Former      string   `json:"former" enum:",keep,drop" doc:"Whether it is kept what this table's records have before they are changed, so that a rollback gives it back: keep or drop; empty: as rollback.keep says."`
	ShardBy     string   `json:"shard_by" doc:"Lookup column by which records are spread over the requests at once, where the database locks the record it points to: no two of them have children of the same one."`
	Impersonate string   `json:"impersonate" enum:",createdby" doc:"createdby: each record is created as the user in the transform's column createdby. Needs prvActOnBehalfOfAnotherUser, in a role of the application user's own."`
	Batch       Batch    `json:"batch" min:"0" max:"1000" doc:"Records in one request, or auto; 0 for load.batch."`
	Parallel    int      `json:"parallel" min:"0" max:"1024" doc:"Requests at once; 0 for load.parallel."`
	Message     string   `json:"message" enum:"auto,bulk,batch,single" doc:"How records travel: bulk (CreateMultiple and its like), batch ($batch), single, or auto (bulk where the table has it)."`
	Headers     Headers  `json:"headers" doc:"What is asked of the service for the records of this table; where it is given, nothing of load.headers holds for them."`

	Repair map[string]Repair `json:"repair" match:"^(\\*|[a-z_][a-z0-9_]*)$" doc:"What is done about values that the target would refuse, by column; * stands for the columns that are not named."`
}

// Rollback is what a way back needs.
type Rollback struct {
	Keep bool `json:"keep" doc:"Whether it is kept what records have before they are changed, so that a rollback gives it back. With on_conflict: skip and merge they are read anyway; with overwrite it takes one request to read for each that writes."`
}

// KeepsFormer reports whether it is kept what a table's records have before they are changed.
func (c *Config) KeepsFormer(table string) bool {
	switch c.Table(table).Former {
	case "keep":
		return true
	case "drop":
		return false
	}
	return c.Rollback.Keep
}

// Repair says what is done about the faults of a column (method.md M7); what is left out
// sets the row aside. Each repair is noted in the row's dm_repairs.
type Repair struct {
	TooLong    string `json:"too_long" enum:",hold,trim,blank" doc:"A text that is longer than the column: hold, trim or blank."`
	NotOption  string `json:"not_option" doc:"A number that is no option of the choice: hold, blank, or the option to take."`
	OutOfRange string `json:"out_of_range" doc:"A number or date beyond the column's range: hold, clamp, blank, or the value to take."`
	WrongType  string `json:"wrong_type" doc:"A value that is not of the column's type: hold, blank, or the value to take."`
	Empty      string `json:"empty" doc:"No value: hold, or the value to take; of a lookup a legacy key, or a GUID for a record that is there already; table:key or table:GUID where it may point to several tables."`
	NoTarget   string `json:"no_target" doc:"A lookup that leads nowhere: hold, blank, or as for empty the record to point to."`
}

// Checks chooses among the checks that dvmigrate check --data lists.
type Checks struct {
	Skip []string `json:"skip" match:"^DVM-[A-Z]+$" doc:"Ids of checks that are not made, such as DVM-CURR; a row that only such a check would set aside is sent."`
}

// Headers are the optional behaviours that a write asks for (dataverse-web-api.md 9).
// The zero value asks for none.
type Headers struct {
	Bypass             []string `json:"bypass" enum:"sync,async" doc:"Custom logic that does not run: sync (plug-ins and real-time workflows), async (the others), or both. Needs the privilege prvBypassCustomBusinessLogic."`
	BypassSteps        []string `json:"bypass_steps" match:"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" doc:"Ids of single plug-in steps that do not run; 3 at most, unless the environment is set up for more. Needs prvBypassCustomBusinessLogic."`
	SuppressFlows      bool     `json:"suppress_flows" doc:"Whether no Power Automate flow is triggered; their owners are not told."`
	DuplicateDetection bool     `json:"duplicate_detection" doc:"Whether the environment's duplicate detection rules hold for the records; a duplicate is then refused."`
	Tag                string   `json:"tag" doc:"Text that plug-ins find in the shared variable tag."`
	Impersonate        string   `json:"impersonate" match:"^$|^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" doc:"Entra object id of the user to create and change the records as. Needs prvActOnBehalfOfAnotherUser, in a role of the application user's own."`
	ImpersonateUser    string   `json:"impersonate_user" match:"^$|^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$" doc:"The same by the user's systemuserid."`

	given bool // the file has the key
}

// decoded notes that the file has the key, even if nothing stands in it.
func (h *Headers) decoded() { h.given = true }

// absent tells headers that nobody gave from those that ask for nothing on purpose.
func (h Headers) absent() bool { return reflect.ValueOf(h).IsZero() }

// Stage is how much of the machine DuckDB may use.
type Stage struct {
	Memory    Size   `json:"memory" doc:"Memory limit, such as 4GB; 0 leaves it to the engine, which takes 40 % of the machine's memory."`
	Temp      string `json:"temp" doc:"Folder for what does not fit in memory; when left out, temp in the work folder."`
	TempLimit Size   `json:"temp_limit" doc:"Most that the temp folder may hold; 0 for no limit."`
	Threads   int    `json:"threads" min:"0" max:"1024" doc:"Threads; 0 for one a core."`
}

// Guard is how much may be lost from one staging to the next.
type Guard struct {
	Gone  string `json:"gone" match:"^$|^[0-9]+([.][0-9]+)?%$" doc:"Share of a table's rows that may be gone at once; with more nothing changes, unless --accept-loss is said. 100 rows may always be. Empty for no guard."`
	Fewer string `json:"fewer" match:"^$|^[0-9]+([.][0-9]+)?%$" doc:"The same of a source: how many rows fewer than at the last staging it may have."`
}

// GoneShare and FewerShare are the shares as numbers; 0 where there is no guard.
func (g Guard) GoneShare() float64  { return share(g.Gone) }
func (g Guard) FewerShare() float64 { return share(g.Fewer) }

// Loading is how records are sent.
type Loading struct {
	Batch     Batch         `json:"batch" min:"0" max:"1000" doc:"Records in one request, where the table does not say: a number, or auto (or 0) for as many as prove best, from 20, 100 or 200 on by the kind of table."`
	Parallel  int           `json:"parallel" min:"0" max:"1024" doc:"Requests at once; 0 follows the server's hint."`
	Timeout   time.Duration `json:"timeout" min:"1s" max:"1h" doc:"Longest wait for an answer; after it the outcome counts as unknown and is looked up."`
	Patience  time.Duration `json:"patience" min:"0s" doc:"How long an outage of the service or the network is waited out before the load ends."`
	MaxErrors int64         `json:"max_errors" min:"0" doc:"Stop when more records than this have failed; 0 for no limit."`
	Headers   Headers       `json:"headers" doc:"What is asked of the service for every record, where its table does not say."`
}

// Snapshots is when, where and how long copies are kept.
type Snapshots struct {
	To      string        `json:"to" need:"yes" doc:"Folder of the snapshots, best on another disk."`
	Also    []string      `json:"also" doc:"Places that get a copy of each snapshot: folders, such as a mounted share, s3://BUCKET/PREFIX, azblob://ACCOUNT/CONTAINER/PREFIX."`
	S3      S3            `json:"s3" doc:"How S3 is reached. Its keys come from the environment, AWS_ACCESS_KEY_ID and so on, never from here."`
	Every   time.Duration `json:"every" min:"0s" doc:"Time from one snapshot to the next; 0 for none."`
	Keep    Keep          `json:"keep" doc:"Which snapshots stay: the last ones, and one an hour and a day for so long."`
	Sources bool          `json:"sources" doc:"Whether the source files are copied too."`
	Encrypt Encrypt       `json:"encrypt" doc:"To whom snapshots are encrypted; not at all when nothing is given."`
}

// S3 says where a service with Amazon's S3 protocol is; AWS_ENDPOINT_URL and AWS_REGION of
// the environment do where nothing is given.
type S3 struct {
	Endpoint  string `json:"endpoint" doc:"https://HOST or https://HOST:PORT; Amazon's when nothing is given."`
	Region    string `json:"region" doc:"The bucket's region; the service is asked for it when nothing is given."`
	PathStyle bool   `json:"path_style" doc:"The bucket's name goes into the path even at Amazon; elsewhere it always does."`
}

// S3Server is the server that an endpoint names, an https://HOST or https://HOST:PORT (http:// for one
// that is near); ok is false for any other text.
func S3Server(endpoint string) (server *url.URL, ok bool) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return nil, false
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, true
}

// Encrypt says who can restore: the owners of age identities, or whoever knows a passphrase.
type Encrypt struct {
	Recipients     []string `json:"recipients" doc:"Public keys of age (age1...), made by dvmigrate snapshot keygen."`
	RecipientsFile string   `json:"recipients_file" doc:"A file with one public key a line; lines that begin with # do not count."`
	Passphrase     Secret   `json:"passphrase" env:"DVMIGRATE_PASSPHRASE" doc:"A passphrase instead of keys. Only as ${NAME}, never written out."`
}

// IsZero reports whether snapshots are not encrypted.
func (e Encrypt) IsZero() bool {
	return len(e.Recipients) == 0 && e.RecipientsFile == "" && e.Passphrase.IsZero()
}

// Keep is how many snapshots of each kind stay.
type Keep struct {
	Last   int `json:"last" min:"1" doc:"The newest ones."`
	Hourly int `json:"hourly" min:"0" doc:"Hours of which one stays."`
	Daily  int `json:"daily" min:"0" doc:"Days of which one stays."`
}

// Limits are the target's service protection limits; they hold for each user on each
// web server (dataverse-web-api.md 8.1). Environments may have others than the defaults.
type Limits struct {
	Requests   int           `json:"requests" min:"1" doc:"Requests in one window."`
	Window     time.Duration `json:"window" min:"1s" doc:"The sliding window."`
	Execution  time.Duration `json:"execution" min:"1s" doc:"Execution time in one window, all requests together."`
	Concurrent int           `json:"concurrent" min:"1" max:"1024" doc:"Requests at once."`
	Users      int           `json:"users" min:"0" doc:"Application users that load, for the estimate; each has its own limits. 0 for as many as sign in."`
	Servers    int           `json:"servers" min:"1" doc:"Web servers that answer; each counts for itself."`
}

// Estimate is what the offline estimate assumes.
type Estimate struct {
	Buffer  float64         `json:"buffer" min:"0" max:"500" doc:"Percent added for what goes wrong."`
	Window  time.Duration   `json:"window" min:"0s" doc:"Time that the cutover may take; the estimate says whether the load fits."`
	Latency time.Duration   `json:"latency" min:"0s" max:"1m" doc:"Time of one request that does nothing: the network and the front door."`
	Record  time.Duration   `json:"record" min:"0s" max:"1m" doc:"Server time for one record, where no rate is stated; 0 for published orders of magnitude."`
	Hint    int             `json:"hint" min:"0" max:"1024" doc:"Requests at once that the environment recommends (x-ms-dop-hint); 0 for not known."`
	Split   time.Duration   `json:"split" min:"1h" doc:"A load that takes longer is proposed as a full load weeks ahead and weekly deltas; 48h to 72h are usual."`
	Change  float64         `json:"change" min:"0" max:"100" doc:"Percent of the records that change in a week, for the deltas, where the table does not say."`
	Faults  float64         `json:"faults" min:"0" max:"50" doc:"Percent of requests that fail for a passing cause, where nothing is measured."`
	Rates   map[string]Rate `json:"rates" match:"^[a-z_][a-z0-9_]*$" doc:"Measured or stated speed of a table, under its logical name."`
}

// Rate is one table's speed in records per second; 0 is not known.
type Rate struct {
	Insert  float64 `json:"insert" min:"0" doc:"Records inserted per second."`
	Update  float64 `json:"update" min:"0" doc:"Records updated per second."`
	Delete  float64 `json:"delete" min:"0" doc:"Records deleted per second."`
	Records int64   `json:"records" min:"0" doc:"Records that the table will have, where it is not staged yet."`
	Change  float64 `json:"change" min:"0" max:"100" doc:"Percent of its records that change in a week; 0 for estimate.change."`
	Before  bool    `json:"before" doc:"Whether the table is loaded before the cutover window, and only its changes in it."`
}

// Default returns the settings that hold where nothing else is said. They are not
// valid by themselves: version and name must come from the file.
func Default() *Config {
	c := new(Config)
	c.setDefaults()
	return c
}

// defaulter is a group of settings that does not start as all zeros; the decoder and
// the JSON Schema both begin with it.
type defaulter interface{ setDefaults() }

func (c *Config) setDefaults() {
	c.Schema, c.Transforms, c.Files, c.Work = "schema.json", "transform", "files", "work"
	c.Target = Target{Auth: "default", Cloud: "public"}
	c.Stage = Stage{TempLimit: 100 * gigabyte}
	c.Rollback = Rollback{Keep: true}
	c.Guard = Guard{Gone: "10%", Fewer: "20%"}
	c.Load = Loading{Batch: AutoBatch, Timeout: 150 * time.Second, Patience: 30 * time.Minute}
	c.Snapshots = Snapshots{To: "snapshots", Every: time.Hour, Keep: Keep{Last: 6, Hourly: 24, Daily: 14}}
	c.Log = Logging{Level: "info", Format: "text", Size: 50e6, Keep: 5}
	c.Alerts = Alerts{Errors: "5%", Rate: "30%", Still: 15 * time.Minute, Throttled: "80%", Disk: 5 * gigabyte, Token: 10 * time.Minute, Schema: time.Hour, Identity: true, Ended: true}
	c.Limits = Limits{Requests: 6000, Window: 300 * time.Second, Execution: 1200 * time.Second, Concurrent: 52, Servers: 1}
	c.Estimate = Estimate{Buffer: 25, Window: 48 * time.Hour, Latency: 60 * time.Millisecond, Split: 60 * time.Hour, Change: 2}
}

func (s *Source) setDefaults() {
	*s = Source{Quote: `"`, Header: true, Encoding: "utf-8", Null: []string{""}, Feed: "full", Types: Types{Word: TypesText}, MaxBadLines: 1000}
}

func (t *Table) setDefaults() {
	*t = Table{IDs: "assign", OnMatch: "error", OnConflict: "skip", Gone: "report", Message: "auto"}
}

// Path returns a path of the settings as one that can be opened: relative ones start
// at the project folder, slashes become the machine's own.
func (c *Config) Path(p string) string {
	if Distant(p) {
		return p
	}
	p = filepath.FromSlash(p)
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(c.Dir, p)
}

// Distant says whether p is no path but the name of a place reached over a network.
func Distant(p string) bool { return strings.Contains(p, "://") }

// TempDir returns the folder for what does not fit in the stage's memory, as a path
// that can be opened.
func (c *Config) TempDir() string {
	if c.Stage.Temp != "" {
		return c.Path(c.Stage.Temp)
	}
	return filepath.Join(c.Path(c.Work), "temp")
}

// SignIns are the users that load, at least one: the target's own, and those of
// target.users with what they leave out. Ready tokens take the place of all others.
func (t Target) SignIns() []User {
	var users []User
	for _, token := range strings.FieldsFunc(t.Token.Reveal(), betweenTokens) {
		users = append(users, User{Auth: t.Auth, Tenant: t.Tenant, Token: NewSecret(token)})
	}
	if users != nil {
		return users
	}
	users = append(users, User{Auth: t.Auth, Tenant: t.Tenant, Client: t.Client, Secret: t.Secret, Certificate: t.Certificate})
	for _, u := range t.Users {
		if u.Auth == "" {
			u.Auth = t.Auth
		}
		if u.Tenant == "" {
			u.Tenant = t.Tenant
		}
		users = append(users, u)
	}
	return users
}

// betweenTokens tells what stands between two tokens, which hold no such character.
func betweenTokens(r rune) bool { return r == ',' || unicode.IsSpace(r) }

// Users is the number of application users that the estimate counts on.
func (c *Config) Users() int {
	if c.Limits.Users > 0 {
		return c.Limits.Users
	}
	return len(c.Target.SignIns())
}

// Table returns the settings of the table with this logical name; Batch, Parallel and
// Headers are those of Load where the table does not say. A Batch of 0 is as many as prove
// best.
func (c *Config) Table(name string) Table {
	t, ok := c.Tables[name]
	if !ok {
		t.setDefaults()
	}
	if t.Batch == 0 {
		t.Batch = c.Load.Batch
	}
	t.Batch = max(t.Batch, 0)
	if t.Parallel == 0 {
		t.Parallel = c.Load.Parallel
	}
	if t.Headers.absent() {
		t.Headers = c.Load.Headers
	}
	return t
}
