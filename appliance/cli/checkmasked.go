package cli

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"dvmigrate/appliance"
	"dvmigrate/appliance/progress"
)

//go:embed checkmasked.html
var maskedPage string

// runMasked looks for original values of masked columns.
func (c *checkCommand) runMasked(ctx context.Context, env *Env) error {
	p, err := env.open(ctx, appliance.Viewing, "check --masked")
	if err != nil {
		return err
	}
	defer p.Close()
	meter := env.meter()
	r, err := p.CheckMasked(ctx, appliance.KeySource{IdentityFile: c.keys.identity}, meter.percent)
	meter.clear()
	if err != nil {
		return err
	}
	if c.html != "" {
		if err := writePage(c.html, maskedPage, p.Config.Name, maskedReport{r, maskedVerdict(r)}); err != nil {
			return err
		}
	}
	if env.json {
		err = env.printJSON(r)
	} else {
		printMasked(env, r, c.html)
	}
	if err == nil && r.Failed() {
		return rejects()
	}
	return err
}

// maskedReport is what the page shows.
type maskedReport struct {
	appliance.MaskedCheck
	Verdict string
}

// Found says what was found, in words.
func (maskedReport) Found(f appliance.MaskedFinding) string { return foundText(f) }

// Chance says how often values meet, beside what chance gives.
func (maskedReport) Chance(e appliance.MaskedEqual) string { return equalText(e) }

func foundText(f appliance.MaskedFinding) string {
	switch f.How {
	case "row":
		return fmt.Sprintf("%s has the original of %s.%s, in %s of its rows", f.Place, f.Source, f.Column, count(f.Times))
	case "value":
		return fmt.Sprintf("%s has %s among the originals of %s.%s", f.Place, progress.Counted(f.Times, "value"), f.Source, f.Column)
	}
	return fmt.Sprintf("%s has values of %s.%s, %s times", f.Place, f.Source, f.Column, count(f.Times))
}

func equalText(e appliance.MaskedEqual) string {
	if e.Rows {
		return fmt.Sprintf("%s of %s, by chance some %.1f", count(e.Times), progress.Counted(e.Of, "row"), e.Chance)
	}
	return fmt.Sprintf("%s of %s, of as many made-up ones %.0f", count(e.Times), progress.Counted(e.Of, "value"), e.Chance)
}

// maskedVerdict says in a sentence what the check proves.
func maskedVerdict(r appliance.MaskedCheck) string {
	switch {
	case len(r.Clear) > 0:
		return "begin anew: remove the work folder and the snapshots, and stage"
	case len(r.Findings) > 0:
		return "mask these columns, too, or remove these files; then stage again"
	}
	var bytes int64
	for _, p := range r.Places {
		bytes += p.Bytes
	}
	text := fmt.Sprintf("no original value is left in %d places, %s in all", len(r.Places), size(bytes))
	if len(r.Unread) > 0 {
		text += fmt.Sprintf("; %d could not be read, or only in part, and may have some", len(r.Unread))
	}
	return text
}

func printMasked(env *Env, r appliance.MaskedCheck, page string) {
	var rows [][]string
	for _, c := range r.Columns {
		sought := count(c.Sought)
		if c.Sought == 0 {
			sought = "-"
		}
		rows = append(rows, []string{c.Source + "." + c.Column, c.As, c.Type, count(c.Values), count(c.Rows), count(c.Masked), count(c.Unchanged), count(c.Original), sought})
	}
	printTable(env.Stdout, []column{left("masked column"), left("as"), left("type"), right("values"), right("rows compared"), right("masked"), right("left as they are"), right("original"), right("searched for")}, rows)
	env.say("")
	rows = nil
	var values, relations int
	for _, c := range r.Compared {
		if strings.HasPrefix(c.How, "as values") {
			values, relations = values+c.Columns, relations+1
			continue
		}
		rows = append(rows, []string{c.Place, count(c.Rows), count(c.Columns), c.How})
	}
	rows = append(rows, []string{fmt.Sprintf("%d relations", relations), "", count(values), "as values, whatever row they are in"})
	printTable(env.Stdout, []column{left("compared"), right("rows"), right("columns"), left("how")}, rows)
	env.say("")
	printPlaces(env, r)
	for _, f := range r.Findings {
		env.say("found: %s", foundText(f))
	}
	for _, c := range r.Clear {
		env.say("in the clear: %s was staged without its masks until %s; the stage's file, and snapshots from before, may still have its values", c.Source, c.Until)
	}
	if page != "" {
		env.say("the page is in %s", page)
	}
	env.say("%s", maskedVerdict(r))
}

// printPlaces prints what was searched, what was not, and what is as chance gives.
func printPlaces(env *Env, r appliance.MaskedCheck) {
	var hows []string
	number, bytes := map[string]int{}, map[string]int64{}
	for _, p := range r.Places {
		if number[p.How] == 0 {
			hows = append(hows, p.How)
		}
		number[p.How]++
		bytes[p.How] += p.Bytes
	}
	var rows [][]string
	for _, how := range hows {
		rows = append(rows, []string{how, count(number[how]), size(bytes[how])})
	}
	printTable(env.Stdout, []column{left("searched for texts"), right("places"), right("size")}, rows)
	env.say("")
	for _, u := range r.Unread {
		env.say("not examined: %s: %s", u.Place, u.Why)
	}
	for _, n := range r.Notes {
		env.say("note: %s", n)
	}
	met := 0
	for _, e := range r.Equal {
		if !e.Left {
			met++
		}
	}
	if met > 0 {
		env.say("note: in %s places values are originals, too, as often as chance gives; --html and --json list them", count(met))
	}
}
