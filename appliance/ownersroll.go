package appliance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/preflight"
	"dvmigrate/duckstage"
	"dvmigrate/duckstage/transform"
)

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
	case len(found) == 1 && found[0].disabled && !o.Party:
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
		if u.disabled && !o.Party {
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
	case best.disabled && o.Party:
		o.State, o.Target, o.Name, o.Why = OwnerProposed, best.shown(), best.name, fmt.Sprintf("%.0f %% alike; disabled, which a party may be", 100*most)
	case best.disabled:
		o.State, o.Name, o.Why = OwnerDisabled, best.name, fmt.Sprintf("%s is like it, and disabled", best.shown())
	default:
		o.State, o.Target, o.Name, o.Why = OwnerProposed, best.shown(), best.name, fmt.Sprintf("%.0f %% alike", 100*most)
	}
}
