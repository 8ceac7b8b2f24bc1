package load

import (
	"context"
	"fmt"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/ledger"
)

// A record whose row is gone may be made inactive (GoneDeactivate). Most tables have one state for that, after the active
// one; of the others these are the inactive ones, first the one that says best that the record is no more: disqualified
// and not qualified, canceled and not completed. A submitted order, an active quote, a draft of a product are not inactive.
// They are the states that Microsoft ships.
var inactiveStates = map[string][]int64{
	"lead": {2, 1}, "opportunity": {2, 1}, "incident": {2, 1}, "product": {1},
	"quote": {3, 2}, "salesorder": {2, 3, 4}, "invoice": {3, 2, 1},
}

// inactiveOf are the inactive states that a table has, first the one that its records get; none: it has no states.
func inactiveOf(t *schema.Table) (states []int64) {
	known := inactiveStates[t.LogicalName]
	if known == nil && t.Kind == schema.Activity {
		known = []int64{2, 1} // 3 is scheduled
	}
	for _, c := range t.Columns {
		if c.Type != schema.State {
			continue
		}
		for _, o := range c.Options {
			if v := int64(o.Value); v > 0 && (known == nil || slices.Contains(known, v)) {
				states = append(states, v)
			}
		}
	}
	if known != nil {
		slices.SortFunc(states, func(a, b int64) int { return slices.Index(known, a) - slices.Index(known, b) })
	}
	return states
}

// inactive reports whether a state of a table is an inactive one.
func inactive(t *schema.Table, state int64) bool { return slices.Contains(inactiveOf(t), state) }

// InactiveBody is the body of an update that makes a record inactive, with the state's default status reason. An error
// says that the table has no such state that a plain write sets.
func InactiveBody(t *schema.Table) ([]byte, error) {
	states := inactiveOf(t)
	if len(states) == 0 {
		return nil, fmt.Errorf("the table %s has no inactive state", t.LogicalName)
	}
	if mapping.ClosedByAction(t.LogicalName, states[0]) {
		return nil, fmt.Errorf("records of the table %s become inactive by an action of their own only", t.LogicalName)
	}
	return stateBody(t, stateOf{states[0], -1}), nil
}

// leaveInactive settles the records that are inactive already, in whatever state: it stays, somebody may have given it.
func (s *sender) leaveInactive(ctx context.Context, set []int) (rest []int, err error) {
	err = s.eachState(ctx, set, func(i int, is stateOf, there bool) {
		if there && inactive(s.w.table.Schema, is.state) {
			s.j.results[i] = outcome{result: ledger.ResultSuccess}
		}
	})
	return s.open(set), err
}
