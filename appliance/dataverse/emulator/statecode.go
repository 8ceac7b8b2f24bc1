package emulator

import (
	"net/http"
	"slices"
	"strconv"

	"dvmigrate/appliance/dataverse/schema"
)

// initialState sets and checks statecode and statuscode of a new row (section 4.5).
func (t *table) initialState(id schema.GUID, vals []value) error {
	if t.state == nil {
		return nil
	}
	state := &vals[t.state.idx]
	if state.isNull() || t.initialStateOnly {
		*state = intValue(int64(t.openState))
	}
	if e := t.checkState(int32(state.n)); e != nil {
		return e
	}
	if t.status == nil {
		return nil
	}
	status := &vals[t.status.idx]
	if status.isNull() {
		*status = intValue(int64(t.defaultStatus(int32(state.n))))
		return nil
	}
	if !t.pairs(int32(state.n), int32(status.n)) {
		return t.errStatus(int32(state.n), int32(status.n), id)
	}
	return nil
}

// changeState checks the state and status of an updated row against what they were,
// and completes them. setState and setStatus say what the body had, closing that an
// action of closings does it.
func (t *table) changeState(old row, vals []value, setState, setStatus, closing bool) error {
	if t.state == nil || !setState && !setStatus {
		return nil
	}
	before := int32(old.value(t.state).n)
	after := int32(vals[t.state.idx].n)
	if e := t.checkState(after); e != nil {
		return e
	}
	if e := t.needsMessage(before, after, closing); e != nil {
		return e
	}
	if t.status == nil {
		return nil
	}
	status := &vals[t.status.idx]
	if setState && !setStatus && before != after {
		*status = intValue(int64(t.defaultStatus(after)))
	}
	if status.isNull() || !t.pairs(after, int32(status.n)) {
		if setState && setStatus {
			return errorf(http.StatusBadRequest, "0x80048408", "State code is invalid or state code is valid but status code is invalid for a specified state code.")
		}
		return t.errStatus(after, int32(status.n), old.id)
	}
	if t.StateTransitions && before != after {
		from := t.status.Option(int32(old.value(t.status).n))
		if from != nil && len(from.Next) > 0 && !slices.Contains(from.Next, int32(status.n)) {
			return errorf(http.StatusBadRequest, "0x8004F00E", "The status reason cannot change from %d to %d: the transition is not allowed.", from.Value, status.n)
		}
	}
	return nil
}

// needsMessage refuses a plain write of a state that only an action of its own sets: a
// case is resolved, and without Options.PlainClose an opportunity won or lost, by their
// messages (section 4.5).
func (t *table) needsMessage(before, after int32, closing bool) *apiError {
	if closing || before == after {
		return nil
	}
	switch {
	case t.LogicalName == "incident" && after == 1:
		return errorf(http.StatusBadRequest, "0x80040203", "This message can not be used to set the state of incident to Resolved. In order to set state of incident to Resolved, use the CloseIncidentRequest message instead.")
	case t.closeByMessage && (after == 1 || after == 2):
		name := []string{"won", "lost"}[after-1]
		return errorf(http.StatusBadRequest, "0x80100005", "This message can not be used to set the state of opportunity to %s. In order to set state of opportunity to %s, use the %s message instead.", name, name, name)
	}
	return nil
}

func (t *table) checkState(state int32) *apiError {
	if len(t.state.Options) > 0 && t.state.Option(state) == nil {
		return t.state.errOption(strconv.Itoa(int(state)))
	}
	return nil
}

// pairs reports whether a status reason belongs to a state. A schema without
// options (read from $metadata alone) takes any.
func (t *table) pairs(state, status int32) bool {
	if len(t.status.Options) == 0 {
		return true
	}
	o := t.status.Option(status)
	return o != nil && (o.State == nil || *o.State == state)
}

func (t *table) errStatus(state, status int32, id schema.GUID) *apiError {
	label := strconv.Itoa(int(state))
	if o := t.state.Option(state); o != nil {
		label = o.Label
	}
	return errorf(http.StatusBadRequest, "0x80048408", "%d is not a valid status code for state code %sState.%s on %s with Id %s", status, title(t), label, t.LogicalName, id)
}

// refusesUpdate refuses to change columns of a closed row, where the table is one
// that does (trap 12). A change of state itself is allowed.
func (t *table) refusesUpdate(old row, rec *record) *apiError {
	if len(t.closed) == 0 || t.state == nil {
		return nil
	}
	state := old.value(t.state).n
	if !slices.Contains(t.closed, state) {
		return nil
	}
	for i := range rec.set {
		if c := rec.set[i].col; c == t.state && rec.set[i].v.n != state {
			return nil
		}
	}
	for i := range rec.set {
		if c := rec.set[i].col; c != t.state && c != t.status {
			return errInactive(t, old.id)
		}
	}
	if len(rec.binds) > 0 {
		return errInactive(t, old.id)
	}
	return nil
}

func errInactive(t *table, id schema.GUID) *apiError {
	return errorf(http.StatusBadRequest, "0x80040230", "The %s with Id = %s is inactive and cannot be updated.", t.LogicalName, id)
}
