package appliance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
)

// journal is work/calibration.json: which records a calibration may have in a sandbox. It
// is on the disk before the first of them is sent, and goes when none is left.
type journal struct {
	Version      int            `json:"version"`
	URL          string         `json:"url"`
	Organization schema.GUID    `json:"organization"`
	Tables       []journalTable `json:"tables"` // in the order in which they are created
}

type journalTable struct {
	Table string        `json:"table"`
	IDs   []schema.GUID `json:"ids"`
}

func (j journal) of(table string) []schema.GUID {
	for _, t := range j.Tables {
		if t.Table == table {
			return t.IDs
		}
	}
	return nil
}

func (p *Project) journalPath() string { return filepath.Join(p.work(), "calibration.json") }

// beginJournal draws the ids of all records to come and keeps them. They are random
// (version 4); the migration's own are made otherwise.
func (c *calibrator) beginJournal() error {
	j := journal{Version: 1, URL: c.p.Config.Target.Environment(), Organization: c.who.OrganizationID}
	for _, t := range c.out.Plan.Tables {
		if t.Skipped != "" || c.bound.byName[t.Table].Link != nil {
			continue
		}
		x := journalTable{Table: t.Table}
		for range t.Records {
			x.IDs = append(x.IDs, randomID())
		}
		j.Tables = append(j.Tables, x)
	}
	if err := keepNote(c.p.journalPath(), j); err != nil {
		return fmt.Errorf("note which records the calibration will create: %w", err)
	}
	c.begun = j
	return nil
}

func randomID() schema.GUID {
	var g schema.GUID
	rand.Read(g[:])
	g[6], g[8] = g[6]&0x0f|0x40, g[8]&0x3f|0x80
	return g
}

// cleanEarlier deletes what an interrupted calibration left.
func (c *calibrator) cleanEarlier(ctx context.Context) (deleted int, err error) {
	path := c.p.journalPath()
	var j journal
	there, err := readNote(path, &j)
	if !there && err == nil {
		return 0, nil
	}
	if err != nil || j.Version != 1 {
		return 0, fmt.Errorf("%s, which lists the records of an interrupted calibration, cannot be read: %v\nrestore it, or delete those records by hand and then the file", path, err)
	}
	if j.Organization != c.who.OrganizationID {
		return 0, fmt.Errorf("an interrupted calibration left records in %s\nhave them deleted first: dvmigrate calibrate --target %s; or, if that environment is no more, remove %s", j.URL, j.URL, path)
	}
	c.tell("", "delete what an interrupted calibration left")
	n, err := c.clean(ctx, j, true)
	if err != nil {
		return n, err
	}
	return n, os.Remove(path)
}

// The time that a request without an answer may take to be applied; and how long is
// tried to delete what is left when somebody wants to go.
const (
	stillComing = 2 * time.Second
	lastEffort  = time.Minute
)

// cleanAfter deletes what this calibration created, though ctx has ended.
func (c *calibrator) cleanAfter(ctx context.Context, j journal, doubt bool) error {
	c.count(nil)
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastEffort)
		defer cancel()
	}
	if _, err := c.clean(ctx, j, doubt); err != nil {
		return fmt.Errorf("delete the records of the calibration: %w\nsome are left; the next `dvmigrate calibrate` in %s deletes them first (%s lists them)", err, j.URL, c.p.journalPath())
	}
	return os.Remove(c.p.journalPath())
}

// clean deletes a journal's records, the last created first, until none is there. With
// doubt it looks once more a while later.
func (c *calibrator) clean(ctx context.Context, j journal, doubt bool) (deleted int, err error) {
	const rounds = 5
	for round := 1; ; round++ {
		left := 0
		for _, t := range slices.Backward(j.Tables) {
			n, err := c.cleanTable(ctx, t)
			if err != nil {
				return deleted, fmt.Errorf("%s: %w", t.Table, err)
			}
			left += n
		}
		deleted += left
		switch {
		case left > 0 && round == rounds:
			return deleted, fmt.Errorf("%d records are there again after each time", left)
		case left > 0:
		case !doubt:
			return deleted, nil
		default:
			doubt = false
			if err := dataverse.Pause(ctx, stillComing); err != nil {
				return deleted, err
			}
		}
	}
}

// cleanTable deletes those of a table's records that are there, and says how many were.
func (c *calibrator) cleanTable(ctx context.Context, t journalTable) (int, error) {
	table := c.p.Schema.Table(t.Table)
	if table == nil {
		return 0, errors.New("is not in the schema file any more; pull the schema that it was calibrated with")
	}
	client := c.target.first()
	there, err := client.Existing(ctx, table, t.IDs)
	if err != nil {
		return 0, err
	}
	var ids []schema.GUID
	for _, id := range t.IDs {
		if _, ok := there[id]; ok {
			ids = append(ids, id)
		}
	}
	for part := range slices.Chunk(ids, 100) {
		if err := removeRecords(ctx, client, table, part); err != nil && dataverse.KindOf(err) != dataverse.Lost {
			return 0, err
		}
	}
	return len(ids), nil
}

// removeRecords deletes records; one that is not there is done.
func removeRecords(ctx context.Context, client *dataverse.Client, t *schema.Table, ids []schema.GUID) error {
	if t.Kind == schema.Elastic && t.CanBulk("delete") { // its key has a partition: that of a record that named none is its id
		body := []byte(`{"Targets":[`)
		for i, id := range ids {
			if i > 0 {
				body = append(body, ',')
			}
			body = fmt.Appendf(body, `{"@odata.type":"Microsoft.Dynamics.CRM.%s","%s":"%s","partitionid":"%s"}`, t.LogicalName, t.PrimaryID, id, id)
		}
		return client.DeleteMany(ctx, t, append(body, "]}"...), len(ids))
	}
	ops := make([]dataverse.Op, len(ids))
	for i, id := range ids {
		ops[i] = dataverse.DeleteOp(t, id)
	}
	errs, err := client.Batch(ctx, ops)
	if err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil && dataverse.KindOf(err) != dataverse.NotFound {
			return err
		}
	}
	return nil
}
