package load

import (
	"errors"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/ledger"
)

// Class is why a record failed or is held back, as the ledger keeps it. Stored:
// the numbers never change their meaning.
type Class uint8

// The classes.
const (
	ClassOther       Class = iota // refused for a cause that none of the others names
	ClassValue                    // a value that Dataverse refuses: length, range, option, type, date
	ClassLookup                   // points to a record that the target does not have
	ClassDuplicate                // an alternate key or unique value is taken
	ClassPlugin                   // refused by custom logic in the target
	ClassRights                   // the owner or the record's rights do not allow it
	ClassState                    // a state or status reason that does not fit
	ClassPassing                  // never taken for a cause that should pass: deadlocks, timeouts, lost answers
	ClassMissing                  // the record to change is not in the target
	ClassTooBig                   // the record alone is too large or too slow
	ClassPrevalidate              // held: the staged row does not fit the target's metadata
	ClassOrphan                   // held: points to a row that is not staged
	ClassParent                   // held: depends on a record that failed or is held
	ClassAssociated               // not deleted: other records point to it
	ClassConflict                 // held: somebody has changed the record in the target since it was written
	numClasses
)

var classNames = [numClasses]string{"other", "value", "lookup", "duplicate", "plugin", "rights", "state", "passing", "missing", "too-big", "prevalidation", "orphan", "parent", "associated", "conflict"}

// String is the class's name in messages, in SQL and on the command line.
func (c Class) String() string {
	if c >= numClasses {
		return "other"
	}
	return classNames[c]
}

// classWords are, by number, what a class means and what a person does about it.
var classWords = [numClasses][2]string{
	ClassOther:       {"refused for a cause that no class names", "read the messages"},
	ClassValue:       {"a value that the target refuses: length, range, option, type, date", "mend the transform; if staging let it pass, pull the schema anew"},
	ClassLookup:      {"points to a record that the target does not have", "check the ids that existing() finds, in this environment"},
	ClassDuplicate:   {"an alternate key or a unique value is taken", "mend the key; the record may be there from an earlier try"},
	ClassPlugin:      {"custom logic in the target refused it", "ask who owns the plug-in, or switch it off for the load; then retry"},
	ClassRights:      {"owner or loading user lacks a privilege, or the owner is disabled", "give the role, or map to another owner; then retry"},
	ClassState:       {"state or status reason does not fit", "mend statecode and statuscode in the transform"},
	ClassPassing:     {"deadlocks, timeouts or lost answers, again and again", "retry, with fewer requests at once"},
	ClassMissing:     {"the record to change is not in the target", "find out who deleted it; dvmigrate reconcile, then dvmigrate retry --reconciled, lets it be made again"},
	ClassTooBig:      {"one record alone is too large or too slow", "shorten it"},
	ClassPrevalidate: {"the row does not fit the target, and was not sent", "mend source, map or transform; stage; load"},
	ClassOrphan:      {"points to a row that is not staged, and was not sent", "supply the row, or leave the lookup empty; stage; load"},
	ClassParent:      {"depends on a record that failed or is held back", "mend that one; the next load sends both"},
	ClassAssociated:  {"not deleted, since other records point to it", "delete those, then retry"},
	ClassConflict:    {"somebody changed the record in the target, and it was left alone", "decide who is right: on_conflict; then retry"},
}

// Means says in words why records of the class failed or are held back.
func (c Class) Means() string { return c.words()[0] }

// Todo says what a person does about them.
func (c Class) Todo() string { return c.words()[1] }

func (c Class) words() [2]string {
	if c >= numClasses {
		c = ClassOther
	}
	return classWords[c]
}

// ClassNames lists the names of all classes, by number.
func ClassNames() []string { return classNames[:] }

// classByCode sorts the service's codes (dataverse-web-api.md 1.8).
var classByCode = map[uint32]Class{
	0x80044331: ClassValue, 0x80073001: ClassValue, 0x80044330: ClassValue, 0x80040317: ClassValue, 0x8004022C: ClassValue,
	0x8004431A: ClassValue, 0x80050222: ClassValue, 0x80040239: ClassValue, 0x80040278: ClassValue, 0x80040200: ClassValue,
	0x80040203: ClassValue, 0x80048D19: ClassValue, 0x80072553: ClassValue,
	0x80060891: ClassLookup, 0x80040227: ClassAssociated,
	0x80040237: ClassDuplicate, 0x80060892: ClassDuplicate, 0x80040333: ClassDuplicate,
	0x80040265: ClassPlugin, 0x80040224: ClassPlugin, 0x80040251: ClassPlugin,
	0x80040220: ClassRights, 0x80048306: ClassRights, 0x80040231: ClassRights, 0x80042F09: ClassRights, 0x80042F0A: ClassRights,
	0x8004022B: ClassRights, 0x80040229: ClassRights, 0x80040215: ClassRights, 0x80041409: ClassRights, 0x8004140D: ClassRights, 0x80040225: ClassRights,
	0x80048408: ClassState, 0x8004F00E: ClassState, 0x8004022E: ClassState, 0x80040230: ClassState,
	0x800404CF: ClassState, 0x80100005: ClassState, // closed already; closed by its own message only (4.5)
}

// reasonOf is what the ledger keeps of an error.
func reasonOf(err error) *ledger.Reason {
	r := &ledger.Reason{Class: uint8(ClassOther), Text: err.Error()}
	var e *dataverse.Error
	if unreadable(err) {
		r.Class = uint8(ClassValue)
	}
	if !errors.As(err, &e) {
		return r
	}
	r.HTTP, r.Code, r.Text = uint16(e.Status), e.Code, e.Message
	if r.Text == "" {
		r.Text = e.Error()
	}
	class, known := classByCode[e.Code]
	switch {
	case known:
	case e.Kind == dataverse.NotFound:
		class = ClassLookup
	case e.Kind == dataverse.Duplicate:
		class = ClassDuplicate
	case e.Kind == dataverse.TooBig:
		class = ClassTooBig
	case e.Kind == dataverse.RolledBack || e.Kind == dataverse.Transient || e.Kind == dataverse.Lost:
		class = ClassPassing
	}
	r.Class = uint8(class)
	return r
}

// short is an error in the few words that fit a line of progress.
func short(err error) string {
	var e *dataverse.Error
	if errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return err.Error()
}
