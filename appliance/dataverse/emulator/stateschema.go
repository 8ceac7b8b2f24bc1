package emulator

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"dvmigrate/appliance/dataverse/schema"
)

// keptSchema is the altered schema that the rows of a state file are of: its second
// record, an 'M' before it. Base is the layout that the emulator was started with, so
// that a start with another schema is still noticed.
type keptSchema struct {
	Base    []byte
	Schema  *schema.Schema
	Choices []*schema.Column
	Failed  []schema.GUID
	Version int64
}

// encode makes the record.
func (k *keptSchema) encode() ([]byte, error) {
	text, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("keep the schema: %w", err)
	}
	return append([]byte{'M'}, text...), nil
}

// alteredSchema reads the schema that a state file was last altered to; nil where there
// is no file, it never was, or it began with another schema.
func alteredSchema(path string, base []byte) (*keptSchema, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	r := bufio.NewReader(f)
	left := info.Size() - int64(len(stateMagic))
	magic := make([]byte, len(stateMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != stateMagic {
		return nil, nil // openState says what is wrong
	}
	layout, err := readState(r, left)
	if err != nil {
		return nil, nil
	}
	head, err := r.Peek(9)
	if err != nil || head[8] != 'M' || binary.LittleEndian.Uint32(head) > maxStateRecord {
		return nil, nil
	}
	record, err := readState(r, left-8-int64(len(layout)))
	if err != nil {
		return nil, nil
	}
	k := &keptSchema{Schema: new(schema.Schema)}
	if err := json.Unmarshal(record[1:], k); err != nil {
		return nil, fmt.Errorf("open state %s: the schema that it keeps: %w", path, err)
	}
	if !bytes.Equal(k.Base, base) {
		return nil, nil
	}
	if k.Schema, err = schema.New(k.Schema.Tables, k.Schema.ManyToMany); err != nil {
		return nil, fmt.Errorf("open state %s: the schema that it keeps: %w", path, err)
	}
	return k, nil
}

// modelOf makes the model that the server starts with: of the schema that it is given, or
// of what a state file's was altered to since.
func modelOf(o *Options) (m *model, version int64, err error) {
	if m, err = newModel(o.Schema, o); err != nil || o.StatePath == "" {
		return m, 0, err
	}
	base := m.layout()
	kept, err := alteredSchema(o.StatePath, base)
	if err == nil && kept != nil {
		if m, err = newModel(kept.Schema, o, kept.Choices...); err == nil {
			m.failed, version = kept.Failed, kept.Version
			m.kept, err = kept.encode()
		}
	}
	if err == nil {
		m.base = base
	}
	return m, version, err
}

// keep writes the state file anew, with the altered schema and every row as it is
// encoded for it. The file appears whole or not at all; what was goes on where it cannot
// be written.
func (s *Server) keep(was *model, data storeData) error {
	kept := &keptSchema{Base: was.base, Schema: s.model.schema, Choices: s.model.choices, Failed: s.model.failed, Version: s.schemaVersion}
	record, err := kept.encode()
	if err == nil {
		s.model.base, s.model.kept = was.base, record
		s.store.mu.Lock()
		err = s.store.rewriteState(s.opts.StatePath)
		s.store.mu.Unlock()
	}
	if err != nil {
		s.model = was
		s.store.restore(was, data)
		s.schemaVersion--
	}
	return err
}

// storeData is what an alteration replaces in the store.
type storeData struct {
	tables  []tableData
	links   []linkData
	numbers map[*column]int64
}

func (s *store) data() storeData { return storeData{s.tables, s.links, s.numbers} }

func (s *store) restore(m *model, d storeData) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.model, s.tables, s.links, s.numbers = m, d.tables, d.links, d.numbers
}
