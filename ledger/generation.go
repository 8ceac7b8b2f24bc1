package ledger

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Generation is one staging of the sources and what was planned from it: the full load, each delta.
// Once it is planned only Begun and Finished are still to come, each once.
type Generation struct {
	Number   uint32                   `json:"-"`                 // from 1, ascending
	Kind     string                   `json:"kind"`              // KindFull until one has begun, then KindDelta
	Delta    int                      `json:"delta,omitempty"`   // which delta, from 1; 0: the full load
	Planned  time.Time                `json:"planned,omitzero"`  // zero: planning was not finished
	Begun    time.Time                `json:"begun,omitzero"`    // first load of it; zero: none yet
	Finished time.Time                `json:"finished,omitzero"` // nothing of it waits; zero: not yet
	Tables   map[string]PlannedCounts `json:"tables,omitempty"`
}

// The kinds of a Generation.
const (
	KindFull  = "full"
	KindDelta = "delta"
)

// Name is "full" or "delta 2".
func (g Generation) Name() string {
	if g.Kind == KindDelta {
		return fmt.Sprintf("%s %d", g.Kind, g.Delta)
	}
	return g.Kind
}

// PlannedCounts is what a generation's load has to do for one table: what its staging plans, and what
// one before has planned whose load never began.
type PlannedCounts struct {
	Stage  string `json:"stage,omitempty"` // the staging of that table: Table.Generation
	Insert int64  `json:"insert,omitempty"`
	Update int64  `json:"update,omitempty"`
	Delete int64  `json:"delete,omitempty"`
	Gone   int64  `json:"gone,omitempty"` // withdrawn: planned before and in no plan now

	Carried int64 `json:"carried,omitempty"` // of Insert, Update and Delete, what a staging before has planned whose load never began
}

// Add adds the numbers of o.
func (c *PlannedCounts) Add(o PlannedCounts) {
	c.Insert += o.Insert
	c.Update += o.Update
	c.Delete += o.Delete
	c.Gone += o.Gone
	c.Carried += o.Carried
}

// Total is the sum over all tables.
func (g Generation) Total() (c PlannedCounts) {
	for _, t := range g.Tables {
		c.Add(t)
	}
	return c
}

// ErrNoGeneration says that there is no generation to plan, begin or finish.
var ErrNoGeneration = errors.New("no such generation")

// DefinePlanned is Define with what was planned for the table: both are noted in one commit, in the
// generation that is being planned, which is begun if there is none. After a crash in the middle of
// planning the same generation goes on.
func (l *Ledger) DefinePlanned(ctx context.Context, want Table, counts PlannedCounts) error {
	return l.submit(ctx, &request{alone: func() error {
		t, err := l.defined(want)
		if err != nil {
			return err
		}
		all, err := l.Generations()
		if err != nil {
			return err
		}
		g := nextGeneration(all)
		if n := len(all); n > 0 && all[n-1].Planned.IsZero() {
			g = all[n-1]
		}
		if g.Tables == nil {
			g.Tables = map[string]PlannedCounts{}
		}
		counts.Stage = want.Generation
		g.Tables[want.Name] = counts
		return l.putTable(t, func(tx *bolt.Tx) error { return putGeneration(tx, g) })
	}})
}

// nextGeneration is what comes after all.
func nextGeneration(all []Generation) Generation {
	g := Generation{Number: 1, Kind: KindFull}
	for _, old := range all {
		g.Number = old.Number + 1
		if !old.Begun.IsZero() {
			g.Kind, g.Delta = KindDelta, old.Delta+1
		}
	}
	return g
}

// EndPlanning closes the generation that is being planned; without one it does nothing.
func (l *Ledger) EndPlanning(ctx context.Context) error {
	return l.changeGeneration(ctx, func(g *Generation) error {
		if g.Planned.IsZero() {
			g.Planned = now()
		}
		return nil
	})
}

// BeginGeneration notes that a load of the newest generation begins; a second time it does nothing.
func (l *Ledger) BeginGeneration(ctx context.Context) error {
	return l.changeGeneration(ctx, func(g *Generation) error {
		if g.Planned.IsZero() {
			return fmt.Errorf("begin generation %d: %w: it is still being planned", g.Number, ErrNoGeneration)
		}
		if g.Begun.IsZero() {
			g.Begun = now()
		}
		return nil
	})
}

// FinishGeneration notes that nothing of the newest generation waits any more. A retry may make records
// of it wait again; that it was finished once stays noted.
func (l *Ledger) FinishGeneration(ctx context.Context) error {
	return l.changeGeneration(ctx, func(g *Generation) error {
		if g.Begun.IsZero() {
			return fmt.Errorf("finish generation %d: %w: it has not begun", g.Number, ErrNoGeneration)
		}
		if g.Finished.IsZero() {
			g.Finished = now()
		}
		return nil
	})
}

func now() time.Time { return time.Now().UTC().Round(0) }

// changeGeneration changes the newest generation, if there is one.
func (l *Ledger) changeGeneration(ctx context.Context, change func(*Generation) error) error {
	return l.submit(ctx, &request{alone: func() error {
		all, err := l.Generations()
		if err != nil || len(all) == 0 {
			return err
		}
		g := all[len(all)-1]
		before := g
		if err := change(&g); err != nil || g.Planned == before.Planned && g.Begun == before.Begun && g.Finished == before.Finished {
			return err
		}
		return l.transact(func(tx *bolt.Tx) error { return putGeneration(tx, g) })
	}})
}

func putGeneration(tx *bolt.Tx, g Generation) error {
	return putJSON(tx.Bucket(bucketGenerations), binary.BigEndian.AppendUint32(nil, g.Number), g)
}

// Generations lists all generations, the oldest first.
func (l *Ledger) Generations() ([]Generation, error) {
	var out []Generation
	err := l.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketGenerations)
		if b == nil { // version 1
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			g, err := readGeneration(k, v)
			out = append(out, g)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list generations: %w", err)
	}
	return out, nil
}

func readGeneration(key, sealed []byte) (g Generation, err error) {
	text, err := unseal(key, sealed)
	if err != nil {
		return g, err
	}
	if len(key) != 4 {
		return g, fmt.Errorf("generation key %x has not 4 bytes", key)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		return g, err
	}
	g.Number = binary.BigEndian.Uint32(key)
	return g, nil
}
