package appliance

import (
	"math"
	"testing"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/plan"
	"dvmigrate/appliance/progress"
)

func TestTheRestIsCorrectedByWhatWasMeasured(t *testing.T) {
	predicted := []Prediction{{Table: "account", Pass: plan.Insert, Seconds: 100}, {Table: "contact", Pass: plan.Insert, Seconds: 200}, {Table: "account", Pass: plan.Lookups, Seconds: 50}}
	live := progress.Snapshot{Elapsed: 1240, Worked: 240, Tables: []progress.Table{
		{Name: "account", Pass: "insert", State: progress.Ended},
		{Name: "contact", Pass: "insert", State: progress.Running, Counts: progress.Counts{Total: 1000, Done: 500}},
	}}
	r := corrected(predicted, live) // 200 of 350 s are done and took 240, after 1,000 in which the target was read
	if r == nil || math.Abs(r.Factor-1.2) > 1e-9 || math.Abs(r.Seconds-150*1.2) > 1e-9 || r.Predicted != 350 {
		t.Errorf("%+v, want 180 s at a factor of 1.2", r)
	}
}

func TestStepsToComeAreAnnouncedAndStillToCome(t *testing.T) {
	predicted := []Prediction{{Table: "account", Pass: plan.Insert, Action: "insert", Operations: 70, Seconds: 100}, {Table: "account", Pass: plan.Insert, Action: "update", Operations: 30, Seconds: 20},
		{Table: "contact", Pass: plan.Insert, Operations: 300, Seconds: 200}, {Table: "lead", Pass: plan.Insert}}
	tracker := progress.New()
	tracker.Phase("load")
	announce(tracker, predicted)
	tracker.Begin("account", "insert", 90)
	tracker.Sent("account", "insert", 90, 0, 0)
	tracker.End("account", "insert")
	live := tracker.Snapshot()
	if live.Total.Total != 390 || len(live.Tables) != 2 || live.Tables[1].State != progress.Waiting {
		t.Fatalf("announced: %+v", live)
	}
	live.Worked = 60
	if r := corrected(predicted, live); r == nil || math.Abs(r.Seconds-100) > 1e-9 {
		t.Errorf("%+v, want 100 s: half of what was predicted for the step to come", r)
	}
	v := progress.Speed{Left: 100, LeftLow: 80, LeftHigh: 150}.Foretold(1000)
	if v.Left != 1000 || math.Abs(v.LeftLow-800) > 1e-9 || math.Abs(v.LeftHigh-1500) > 1e-9 {
		t.Errorf("another time left: %+v", v)
	}
	if v = (progress.Speed{Left: progress.Unknown}).Foretold(10); v.LeftLow != 10 || v.LeftHigh != 10 {
		t.Errorf("where the rate said nothing: %+v", v)
	}
}

func TestCostsAreToldApartByTheSizesOfRequests(t *testing.T) {
	var m Measure
	for i := range 20 {
		n := 50 + 100*(i%2)
		m.take(exchange(n, 0.06+0.02+0.004*float64(n))) // latency, request, records
	}
	request, record := m.costs(seconds(0.06))
	if math.Abs(request.Seconds()-0.02) > 1e-6 || math.Abs(record.Seconds()-0.004) > 1e-6 {
		t.Errorf("%v a request and %v a record, want 20ms and 4ms", request, record)
	}
}

func exchange(records int, took float64) dataverse.Exchange {
	return dataverse.Exchange{Op: "CreateMultiple", Records: records, Took: seconds(took)}
}
