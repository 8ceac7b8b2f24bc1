package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/mapping"
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
var ownersHead = []string{"source_owner", "source_rows", "target", "target_name", "state", "tables", "comment"}

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
	State   string   `json:"state"`
	Target  string   `json:"target,omitempty"` // what the sheet says, or is proposed
	Name    string   `json:"name,omitempty"`   // of the user or team
	Why     string   `json:"why,omitempty"`
	comment string
}

// principal is a user or team of the target.
type principal struct {
	table, id, called, mail, name string
	disabled                      bool
}

// shown is how the sheet names it.
func (u *principal) shown() string {
	switch {
	case u.called != "":
		return u.called
	case u.mail != "":
		return u.mail
	}
	return u.id
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
			out.Owners = append(out.Owners, DataOwner{Owner: from, State: OwnerDecided, Target: unharmed(r.Cells["target"]), Name: unharmed(r.Cells["target_name"]), comment: r.Cells["comment"], Tables: []string{}})
		}
	}
	return out, p.writeOwners(&out)
}

// principals reads who was pulled.
func (p *Project) principals(ctx context.Context, out *OwnersPlan) ([]principal, error) {
	var people []principal
	for _, q := range []struct{ table, id, called, mail, name, off string }{
		{"systemuser", "systemuserid", "domainname", "internalemailaddress", "fullname", "isdisabled"}, {"team", "teamid", "", "", "name", ""}} {
		cols, err := p.stage.Columns(ctx, "source", transform.PulledPrefix+q.table)
		if err != nil {
			return nil, err
		}
		part := func(name string) string {
			if slices.ContainsFunc(cols, func(c duckstage.ColumnInfo) bool { return c.Name == name }) {
				return "coalesce(CAST(" + name + " AS VARCHAR), '')"
			}
			return "''"
		}
		if len(cols) == 0 {
			continue
		}
		query := fmt.Sprintf("SELECT %s, %s, %s, %s, coalesce(TRY_CAST(%s AS BOOLEAN), false) FROM source.%s%s ORDER BY ALL", part(q.id), part(q.called), part(q.mail), part(q.name), part(q.off), transform.PulledPrefix, q.table)
		err = p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			u := principal{table: q.table}
			err := scan(&u.id, &u.called, &u.mail, &u.name, &u.disabled)
			people = append(people, u)
			if q.table == "team" {
				out.Teams++
			} else {
				out.Users++
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	out.LowestBy, out.RootUnit = "Basic User", ""
	for _, q := range []struct {
		relation, query string
		into            *string
	}{{"target_businessunit", "SELECT coalesce(min(name), '') FROM source.target_businessunit WHERE parentbusinessunitid IS NULL", &out.RootUnit},
		{"target_role", "SELECT coalesce(min(name) FILTER (name = 'Basic User'), min(name) FILTER (contains(lower(name), 'basic')), 'Basic User') FROM source.target_role", &out.LowestBy}} {
		if cols, err := p.stage.Columns(ctx, "source", q.relation); err != nil || len(cols) == 0 {
			continue
		}
		if err := p.stage.Row(ctx, []any{q.into}, q.query); err != nil {
			return nil, err
		}
	}
	return people, nil
}

// ownersInData reads what the transforms hand to owner(), the most frequent first.
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
	out, at := []DataOwner{}, map[string]int{}
	for _, f := range files {
		if !strings.Contains(strings.ToLower(f.sql), "owner") && len(scripts) == 0 {
			continue
		}
		watch("reading the owners of "+f.table, -1)
		for _, l := range b.byName[f.table].Lookups {
			name := "u." + duckstage.Ident(l.LogicalName)
			query := func(from string) string {
				return "SELECT trim(any_value(k)), count(*) AS n FROM (SELECT json_extract_string(to_json(" + name + "), '$.dm_key') AS k, json_extract_string(to_json(" + name + "), '$.dm_by') AS by_what FROM " + from +
					") WHERE by_what = '@owner' AND trim(k) <> '' GROUP BY lower(trim(k)) ORDER BY n DESC"
			}
			err := transform.Read(ctx, p.stage, scripts, f.sql, query, func(scan func(...any) error) error {
				var owner string
				var rows int64
				if err := scan(&owner, &rows); err != nil {
					return err
				}
				i, there := at[strings.ToLower(owner)]
				if !there {
					i = len(out)
					at[strings.ToLower(owner)], out = i, append(out, DataOwner{Owner: owner, Tables: []string{}})
				}
				o := &out[i]
				o.Rows += rows
				if !slices.Contains(o.Tables, f.table) {
					o.Tables = append(o.Tables, f.table)
				}
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.path, err)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b DataOwner) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Owner, b.Owner)) })
	return out, nil
}

// roll finds users and teams by what names them.
type roll struct {
	people []principal
	by     map[string][]*principal // the surest names first: a name counts where no surer one is the same
}

func newRoll(people []principal) *roll {
	r := &roll{people: people, by: map[string][]*principal{}}
	for _, name := range []func(*principal) string{func(u *principal) string { return u.id }, func(u *principal) string { return u.called }, func(u *principal) string { return u.mail },
		func(u *principal) string { return nameIn(u, "systemuser") }, func(u *principal) string { return nameIn(u, "team") }} {
		level := map[string][]*principal{}
		for i := range people {
			u := &people[i]
			if key := strings.ToLower(strings.TrimSpace(name(u))); key != "" {
				level[key] = append(level[key], u)
			}
		}
		for key, found := range level {
			if r.by[key] != nil {
				continue
			}
			on := slices.DeleteFunc(slices.Clone(found), func(u *principal) bool { return u.disabled })
			if len(on) == 0 {
				on = found
			}
			r.by[key] = on
		}
	}
	return r
}

func nameIn(u *principal, table string) string {
	if u.table != table {
		return ""
	}
	return u.name
}

// judge says what is known of an owner in the data.
func (r *roll) judge(o *DataOwner, said string) {
	key := o.Owner
	if o.State = OwnerFound; said != "" {
		o.State, o.Target, key = OwnerDecided, said, said
		if strings.EqualFold(said, preflight.Blank) {
			return
		}
	}
	found := r.by[strings.ToLower(strings.TrimSpace(key))]
	switch {
	case len(found) == 1 && found[0].disabled:
		o.State, o.Name, o.Why = OwnerDisabled, found[0].name, "the user is disabled, and the service gives no records to one"
	case len(found) == 1:
		o.Name = found[0].name
	case len(found) > 1:
		var names []string
		for _, u := range found {
			names = append(names, u.shown())
		}
		o.State, o.Why = OwnerAmbiguous, fmt.Sprintf("%d have that name: %s", len(found), strings.Join(names, ", "))
	case said != "":
		o.State, o.Why = OwnerMissing, fmt.Sprintf("%s is no user or team of the target", said)
	default:
		r.propose(o)
	}
}

// propose finds the one enabled user who is most like the owner.
func (r *roll) propose(o *DataOwner) {
	o.State, o.Why = OwnerMissing, "no user or team is like it"
	var best *principal
	most, twice := 0.0, false
	for i := range r.people {
		u := &r.people[i]
		score := mapping.LikePerson(o.Owner, u.name, u.called, u.mail)
		if u.disabled {
			score /= 2 // only where nobody else is like it
		}
		switch {
		case score > most:
			best, most, twice = u, score, false
		case score == most && score > 0:
			twice = true
		}
	}
	switch {
	case best == nil:
	case twice:
		o.Why = "several users are alike"
	case best.disabled:
		o.State, o.Name, o.Why = OwnerDisabled, best.name, fmt.Sprintf("%s is like it, and disabled", best.shown())
	default:
		o.State, o.Target, o.Name, o.Why = OwnerProposed, best.shown(), best.name, fmt.Sprintf("%.0f %% alike", 100*most)
	}
}

// writeOwners writes the sheet, the import file and the checklist.
func (p *Project) writeOwners(plan *OwnersPlan) error {
	for _, dir := range []string{mapsFolder, usersFolder} {
		if err := os.MkdirAll(filepath.Join(p.Config.Dir, dir), 0o700); err != nil {
			return err
		}
	}
	sheet := [][]string{ownersHead}
	stubs := [][]string{{"First Name", "Last Name", "User Name", "Primary Email", "Business Unit", "Security Role", "Source Owner"}}
	for _, o := range plan.Owners {
		state := o.State
		if o.Why != "" {
			state += ": " + o.Why
		}
		sheet = append(sheet, []string{harmless(o.Owner), strconv.FormatInt(o.Rows, 10), harmless(o.Target), harmless(o.Name), harmless(state), strings.Join(o.Tables, " "), o.comment})
		if o.State == OwnerMissing && o.Target == "" {
			first, last, mail := personOf(o.Owner)
			stubs = append(stubs, []string{harmless(first), harmless(last), harmless(mail), harmless(mail), harmless(plan.RootUnit), plan.LowestBy, harmless(o.Owner)})
		}
	}
	for _, f := range []struct {
		name string
		rows [][]string
	}{{OwnersSheet, sheet}, {stubsFile, stubs}} {
		if err := writeCSV(filepath.Join(p.Config.Dir, filepath.FromSlash(f.name)), f.rows); err != nil {
			return err
		}
		plan.Files = append(plan.Files, f.name)
	}
	plan.Files = append(plan.Files, checklistFile)
	return writeFile(filepath.Join(p.Config.Dir, filepath.FromSlash(checklistFile)), []byte(plan.checklist(len(stubs)-1)))
}

// personOf cuts what a source has of a person into first name, last name and address.
func personOf(text string) (first, last, mail string) {
	name := text
	if local, _, isMail := strings.Cut(text, "@"); isMail {
		mail, name = text, strings.NewReplacer(".", " ", "_", " ").Replace(local)
	} else if _, account, isDomain := strings.Cut(text, `\`); isDomain {
		name = account
	}
	if family, given, turned := strings.Cut(name, ","); turned {
		return strings.TrimSpace(given), strings.TrimSpace(family), mail
	}
	words := strings.Fields(name)
	if len(words) == 0 {
		return "", text, mail
	}
	return strings.Join(words[:len(words)-1], " "), words[len(words)-1], mail
}

// checklist is what only people can do.
func (o *OwnersPlan) checklist(stubs int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Owners: what is to be done by hand\n\nCompared with %s: %d users, %d teams. %d of %d owners in the data are known, %d are proposed, %d are open.\n\n", o.PulledURL, o.Users, o.Teams, o.Found, len(o.Owners), o.Proposed, o.Open)
	fmt.Fprintf(&b, "- [ ] Look at every proposal in %s and fill in `target`: a user's domain name or e-mail, a team's name, a GUID, or `blank`.\n", OwnersSheet)
	if stubs > 0 {
		fmt.Fprintf(&b, "- [ ] %d owners are nobody in the target. For each either name who gets the records, or make a stub user.\n"+
			"      The Web API cannot make stub users: complete %s (last name, user name, e-mail, business unit) and import\n"+
			"      it in the environment as table User (Settings > Data management > Imports). They are disabled, need no licence, and cannot sign in.\n"+
			"- [ ] Put each into its business unit now: moving a user later takes its roles away. Give each the lowest role, %s,\n"+
			"      in the copy of its own business unit; an owner needs at least the right to read the table.\n"+
			"- [ ] If one of them will get an account later, make the real user first instead: the same user name made later is a second user.\n", stubs, stubsFile, o.LowestBy)
	}
	for _, kind := range []struct{ state, todo string }{
		{OwnerDisabled, "is disabled. The service refuses a disabled owner: enable the user for the time of the load, or name a user or team that gets the records"},
		{OwnerAmbiguous, "is several: say in the sheet which one"}} {
		for _, w := range o.Owners {
			if w.State == kind.state {
				fmt.Fprintf(&b, "- [ ] `%s` (%d rows) %s. %s\n", w.Owner, w.Rows, kind.todo, w.Why)
			}
		}
	}
	b.WriteString("- [ ] State what happens to the rest: `tables: {account: {repair: {ownerid: {no_target: \"team:GUID\"}}}}` gives it to a fallback owner and notes it.\n" +
		"- [ ] `dvmigrate target pull`, `dvmigrate users`, `dvmigrate stage`: nothing is open any more.\n")
	return b.String()
}
