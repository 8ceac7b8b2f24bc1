package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

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
		sheet = append(sheet, []string{harmless(o.Owner), strconv.FormatInt(o.Rows, 10), harmless(o.Target), harmless(o.Name), harmless(state), strings.Join(o.Columns, " "), o.comment})
		if o.State == OwnerMissing && o.Target == "" && !o.Party {
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
	if parties := o.missingParties(); len(parties) > 0 {
		fmt.Fprintf(&b, "- [ ] People who are nobody in the target and occur only in lists of parties: %s. Name a user or team in the sheet, or `blank`;\n"+
			"      or give `party_address(text)` in the transform where the text is an e-mail address, which needs no user.\n", strings.Join(parties, ", "))
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

// partiesShown is how many names the checklist has of those who are only parties.
const partiesShown = 10

// missingParties are those whom the target does not know and who own nothing, with where
// they occur.
func (o *OwnersPlan) missingParties() []string {
	var out []string
	for _, w := range o.Owners {
		if w.Party && w.State == OwnerMissing && w.Target == "" {
			out = append(out, "`"+w.Owner+"` ("+strings.Join(w.Columns, ", ")+")")
		}
	}
	if n := len(out) - partiesShown; n > 0 {
		out = append(out[:partiesShown], fmt.Sprintf("and %d more", n))
	}
	return out
}
