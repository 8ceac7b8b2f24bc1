package appliance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
	"dvmigrate/appliance/reconcile"
	"dvmigrate/duckstage"
)

// People read samples by what a form shows: a choice's label, and of a record that a lookup
// points to the legacy key rather than an id.

// wordSamples puts that beside the values of the samples.
func (p *Project) wordSamples(ctx context.Context, b *bound, r *reconcile.Result) error {
	seqOf := p.targetSeq(b)
	keys, err := p.sampleKeys(ctx, b, r, seqOf)
	if err != nil {
		return err
	}
	for i := range r.Tables {
		t := b.byName[r.Tables[i].Name]
		for _, s := range r.Tables[i].Samples {
			for k := range s.Values {
				v := &s.Values[k]
				v.Staged, v.Target = sampleWord(t, v.Column, v.Staged, keys), sampleWord(t, v.Column, v.Target, keys)
			}
		}
	}
	return nil
}

func sampleWord(t *mapping.Table, column, text string, keys map[string]string) string {
	if key, ok := keys[text]; ok {
		return key
	}
	c := t.Schema.Column(column)
	if c == nil || len(c.Options) == 0 || text == "" {
		return text
	}
	parts := strings.Split(text, ",")
	for i, part := range parts {
		parts[i] = strings.TrimSpace(part)
		if n, err := strconv.ParseInt(parts[i], 10, 32); err == nil {
			if o := c.Option(int32(n)); o != nil && o.Label != "" {
				parts[i] += " (" + o.Label + ")"
			}
		}
	}
	return strings.Join(parts, ", ")
}

// sampleKeys are the legacy keys of the records that the samples' lookups point to, by id.
func (p *Project) sampleKeys(ctx context.Context, b *bound, r *reconcile.Result, seqOf func(string, schema.GUID) (uint32, bool)) (map[string]string, error) {
	wanted := map[string]map[uint32]string{} // ids by row, by table
	note := func(l *mapping.Lookup, text string) {
		id, err := schema.ParseGUID(text)
		if err != nil {
			return
		}
		for _, target := range l.Targets {
			if seq, ours := seqOf(target.Table, id); ours && target.Staged {
				if wanted[target.Table] == nil {
					wanted[target.Table] = map[uint32]string{}
				}
				wanted[target.Table][seq] = text
				return
			}
		}
	}
	for _, t := range r.Tables {
		for _, s := range t.Samples {
			for _, v := range s.Values {
				if l := b.byName[t.Name].Lookup(v.Column); l != nil {
					note(l, v.Staged)
					note(l, v.Target)
				}
			}
		}
	}
	keys := map[string]string{}
	for _, table := range slices.Sorted(maps.Keys(wanted)) {
		var seqs []string
		for seq := range wanted[table] {
			seqs = append(seqs, strconv.FormatUint(uint64(seq), 10))
		}
		query := fmt.Sprintf("SELECT dm_seq, legacy_key::VARCHAR FROM %s WHERE dm_seq IN (%s)", duckstage.Ident(table), strings.Join(seqs, ", "))
		err := p.stage.Rows(ctx, query, nil, func(scan func(...any) error) error {
			var seq uint32
			var key string
			err := scan(&seq, &key)
			keys[wanted[table][seq]] = key + " (" + table + ")"
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("find what the samples point to: %w", err)
		}
	}
	return keys, nil
}
