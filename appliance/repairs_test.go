package appliance

import (
	"testing"

	"dvmigrate/appliance/preflight"
	"dvmigrate/duckstage/transform"
)

// The stage knows no metadata, yet names its own faults: by the ids that preflight has
// for them.
func TestFaultsOfTheStageAreRules(t *testing.T) {
	for stage, rule := range map[string]string{transform.FaultType: preflight.Type, transform.FaultID: preflight.RecordID,
		transform.FaultLookup: preflight.Reference, transform.FaultOrphan: preflight.Orphan} {
		if stage != rule {
			t.Errorf("the stage says %s, preflight %s", stage, rule)
		}
	}
}
