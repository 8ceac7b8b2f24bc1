package appliance

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// TestCalibrationTellsRequestFromRecord: what is told of an action are the server's own figures, where the
// network's part is known.
func TestCalibrationTellsRequestFromRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const latency, request, record = 4 * time.Millisecond, 20 * time.Millisecond, 2 * time.Millisecond
		u := crew(t, 1, func(_ string, r *http.Request) (int, string) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			time.Sleep(latency + request + time.Duration(bytes.Count(body, []byte("{}")))*record)
			return http.StatusNoContent, ""
		})
		c := &calibrator{p: &Project{Config: config.Default()}, drain: t.Context(), out: &Calibration{}}
		for _, took := range []time.Duration{3 * latency, latency, 2 * latency} {
			c.observe(dataverse.Exchange{Op: "WhoAmI", Took: took})
		}
		table := &schema.Table{LogicalName: "account", EntitySet: "accounts", PrimaryID: "accountid", Bulk: []string{"update"}}
		k := &calibration{calibrator: c, table: &mapping.Table{Name: "account", Schema: table}, client: u.first(), sizes: requestSizes(100, 100), bulk: true}
		err := k.timed(dataverse.Observing(t.Context(), c.observe), "update", "update", 100, func(ctx context.Context, from, to int, bulk bool) error {
			if !bulk {
				t.Error("not in bulk")
			}
			return k.client.UpdateMany(ctx, table, append([]byte(`{"Targets":[`), append(bytes.Repeat([]byte("{},"), to-from-1), "{}]}"...)...), to-from)
		})
		if err != nil || len(c.out.Actions) != 1 {
			t.Fatal(err, c.out.Actions)
		}
		if a := c.out.Actions[0]; math.Abs(a.Request-request.Seconds()) > 1e-6 || math.Abs(a.Record-record.Seconds()) > 1e-6 || a.Records != 99 {
			t.Errorf("%+v", a)
		}
	})
}
