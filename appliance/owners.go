package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/preflight"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/ingest"
	"dvmigrate/duckstage/transform"
)

// OwnersSheet says who in the target gets the records of whom in the source, where
// owner(text) does not find out by itself.
const OwnersSheet = mapsFolder + "/owners.csv"

// The files that a plan of users writes, in usersFolder.
const (
	usersFolder   = "users"
	stubsFile     = usersFolder + "/stub-users.csv"
	checklistFile = usersFolder + "/checklist.md"
)

// ownersHead are the columns of the sheet; people fill in target, or blank.
var ownersHead = []string{"source_owner", "source_rows", "target", "target_name", "state", "columns", "comment"}

// owners reads the sheet; nil where there is none.
func (p *Project) owners(ctx context.Context) (*transform.Owners, error) {
	rows, err := p.ownerRows(ctx)
	if err != nil || rows == nil {
		return nil, err
	}
	of, line := map[string]string{}, map[string]int{}
	for _, r := range rows {
		from, to := strings.ToLower(unharmed(r.Cells["source_owner"])), unharmed(r.Cells["target"])
		switch {
		case from == "" || to == "":
			continue
		case strings.EqualFold(to, preflight.Blank):
			to = ""
		}
		if former, twice := of[from]; twice && !strings.EqualFold(former, to) {
			return nil, config.Faults{sheetFault(OwnersSheet, r.Line, fmt.Sprintf("%q is somebody else in line %d", from, line[from]))}
		}
		of[from], line[from] = to, r.Line
	}
	return &transform.Owners{File: OwnersSheet, Of: of}, nil
}

func (p *Project) ownerRows(ctx context.Context) ([]ingest.PaperRow, error) {
	sheets, err := ingest.ReadSheets(ctx, filepath.Join(p.Config.Dir, filepath.FromSlash(OwnersSheet)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows := sheets[0].Rows
	if len(rows) > 0 && (!hasKey(rows[0], "source_owner") || !hasKey(rows[0], "target")) {
		return nil, config.Faults{sheetFault(OwnersSheet, 1, "the first row has the names "+strings.Join(ownersHead, ", "))}
	}
	return rows, nil
}

// OwnersPlan compares the owners in the data with the users and teams of the target.
type OwnersPlan struct {
	Version   int         `json:"version"`
	Owners    []DataOwner `json:"owners"`
	Users     int         `json:"users"` // of the target
	Teams     int         `json:"teams"`
	Files     []string    `json:"files,omitempty"` // that were written
	Found     int         `json:"found"`
	Proposed  int         `json:"proposed"`
	Open      int         `json:"open"` // nobody, several, or disabled
	OpenRows  int64       `json:"openRows"`
	LowestBy  string      `json:"role"`         // the lowest role that stub users get
	RootUnit  string      `json:"businessUnit"` // the unit they get where people say no other
	PulledURL string      `json:"pulledFrom"`
}

// The states of an owner in the data.
const (
	OwnerFound     = "found"     // by what the source has
	OwnerDecided   = "decided"   // in the sheet
	OwnerProposed  = "proposed"  // somebody is like it: look
	OwnerDisabled  = "disabled"  // there, and the service gives no records to a disabled user
	OwnerAmbiguous = "ambiguous" // several
	OwnerMissing   = "missing"   // nobody
)

// DataOwner is one owner in the data.
type DataOwner struct {
	Owner   string   `json:"owner"` // as the source has it
	Rows    int64    `json:"rows"`
	Tables  []string `json:"tables"`
	Columns []string `json:"columns"` // that name the owner, as table.column
	Party   bool     `json:"party"`   // only in lists of an activity's parties: nothing is theirs
	State   string   `json:"state"`
	Target  string   `json:"target,omitempty"` // what the sheet says, or is proposed
	Name    string   `json:"name,omitempty"`   // of the user or team
	Why     string   `json:"why,omitempty"`
	comment string
}

// PlanOwners compares the owners in the data, those that transforms hand to owner(), with
// the users and teams that were pulled. With write it writes the sheet of owners, an import
// file for stub users, and a checklist of what only people can do.
func (p *Project) PlanOwners(ctx context.Context, write bool, watch StageWatch) (out OwnersPlan, err error) {
	if write {
		var end func(error, string)
		if end, err = p.record(ctx, "users plan", p.o.Args); err != nil {
			return out, err
		}
		defer func() { end(err, fmt.Sprintf("%d owners", len(out.Owners))) }()
	}
	out = OwnersPlan{Version: 1, Owners: []DataOwner{}}
	state, err := p.pulled(ctx)
	if err != nil {
		return out, err
	}
	if state == nil {
		return out, errors.New("the users of the target are not known yet; run `dvmigrate target pull` first")
	}
	out.PulledURL = state.URL
	people, err := p.principals(ctx, &out)
	if err != nil {
		return out, err
	}
	if out.Owners, err = p.ownersInData(ctx, watch); err != nil {
		return out, err
	}
	rows, err := p.ownerRows(ctx)
	if err != nil {
		return out, err
	}
	book := newRoll(people)
	decided := map[string]ingest.PaperRow{}
	for _, r := range rows {
		decided[strings.ToLower(unharmed(r.Cells["source_owner"]))] = r
	}
	for i := range out.Owners {
		o := &out.Owners[i]
		key := strings.ToLower(o.Owner)
		r := decided[key]
		delete(decided, key)
		o.comment = r.Cells["comment"]
		book.judge(o, unharmed(r.Cells["target"]))
		switch o.State {
		case OwnerFound, OwnerDecided:
			out.Found++
		case OwnerProposed:
			out.Proposed++
		default:
			out.Open++
			out.OpenRows += o.Rows
		}
	}
	if !write {
		return out, nil
	}
	for _, r := range rows { // whom the data have no more
		if from := unharmed(r.Cells["source_owner"]); decided[strings.ToLower(from)].Cells != nil && r.Cells["target"] != "" {
			out.Owners = append(out.Owners, DataOwner{Owner: from, State: OwnerDecided, Target: unharmed(r.Cells["target"]), Name: unharmed(r.Cells["target_name"]), comment: r.Cells["comment"], Tables: []string{}, Columns: []string{}})
		}
	}
	return out, p.writeOwners(&out)
}

// ownersInData reads what the transforms hand to owner(), for a lookup or in a list of
// parties, the most frequent first.
func (p *Project) ownersInData(ctx context.Context, watch StageWatch) ([]DataOwner, error) {
	b, err := p.bind(ctx, p.stage)
	if err != nil {
		return nil, err
	}
	files, err := p.transformFiles()
	if err != nil {
		return nil, err
	}
	scripts, err := p.scripts()
	if err != nil {
		return nil, err
	}
	found := dataOwners{at: map[string]int{}}
	for _, f := range files {
		if !strings.Contains(strings.ToLower(f.sql), "owner") && len(scripts) == 0 {
			continue
		}
		watch("reading the owners of "+f.table, -1)
		t := b.byName[f.table]
		read := func(column, items string, party bool) error {
			return transform.Read(ctx, p.stage, scripts, f.sql, ownersQuery(items), func(scan func(...any) error) error {
				var owner string
				var rows int64
				err := scan(&owner, &rows)
				found.add(owner, rows, t.Name, column, party)
				return err
			})
		}
		for _, l := range t.Lookups {
			err = errors.Join(err, read(l.LogicalName, "to_json(u."+duckstage.Ident(l.LogicalName)+")", false))
		}
		for _, l := range t.Parties {
			value := "to_json(u." + duckstage.Ident(l.LogicalName) + ")"
			err = errors.Join(err, read(l.LogicalName, "unnest(CASE WHEN json_type("+value+") = 'ARRAY' THEN json_extract("+value+", '$[*]') ELSE ["+value+"] END)", true))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
	}
	slices.SortStableFunc(found.all, func(a, b DataOwner) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Owner, b.Owner)) })
	return found.all, nil
}

// ownersQuery counts what owner() was given, in references that items selects as JSON.
func ownersQuery(items string) func(from string) string {
	return func(from string) string {
		return "SELECT trim(any_value(k)), count(*) AS n FROM (SELECT json_extract_string(p, '$.dm_key') AS k, json_extract_string(p, '$.dm_by') AS by_what FROM (SELECT " + items + " AS p FROM " + from +
			")) WHERE by_what = '@owner' AND trim(k) <> '' GROUP BY lower(trim(k)) ORDER BY n DESC"
	}
}

// dataOwners gathers owners, whatever the case they are written in.
type dataOwners struct {
	all []DataOwner
	at  map[string]int
}

func (d *dataOwners) add(owner string, rows int64, table, column string, party bool) {
	i, there := d.at[strings.ToLower(owner)]
	if !there {
		i = len(d.all)
		d.at[strings.ToLower(owner)], d.all = i, append(d.all, DataOwner{Owner: owner, Tables: []string{}, Columns: []string{}, Party: true})
	}
	o := &d.all[i]
	o.Rows, o.Party = o.Rows+rows, o.Party && party
	o.Columns = append(o.Columns, table+"."+column)
	if !slices.Contains(o.Tables, table) {
		o.Tables = append(o.Tables, table)
	}
}
