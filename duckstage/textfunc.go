package duckstage

import (
	"context"
	"fmt"
	"sync/atomic"

	duckdb "github.com/duckdb/duckdb-go/v2"
)

// TextFunc makes a Go function callable in SQL: name(text, …) for so many texts, null if
// one of them is. It must give the same for the same arguments; false is null. Calls come
// from DuckDB's threads, several at once, and must not keep the texts.
type TextFunc struct {
	Name string
	Args int
	Call func(args []string) (string, bool)
}

// textFunc is a registered TextFunc, in the form the driver calls.
type textFunc struct {
	f    atomic.Pointer[TextFunc]
	text duckdb.TypeInfo
}

// RegisterText makes f callable on every connection of the stage, in place of an earlier
// one of that name, which must have had as many arguments.
func (s *Stage) RegisterText(ctx context.Context, f TextFunc) error {
	s.textMu.Lock()
	defer s.textMu.Unlock()
	if former, ok := s.texts[f.Name]; ok {
		former.f.Store(&f)
		return nil
	}
	text, err := duckdb.NewTypeInfo(duckdb.TYPE_VARCHAR)
	if err != nil {
		return fmt.Errorf("register %s: %w", f.Name, err)
	}
	made := &textFunc{text: text}
	made.f.Store(&f)
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return s.explain(ctx, "", err)
	}
	defer conn.Close()
	if err := duckdb.RegisterScalarUDF(conn, f.Name, made); err != nil {
		return fmt.Errorf("register %s: %w", f.Name, err)
	}
	if s.texts == nil {
		s.texts = map[string]*textFunc{}
	}
	s.texts[f.Name] = made
	return nil
}

// Config is part of the driver's interface.
func (t *textFunc) Config() duckdb.ScalarFuncConfig {
	args := make([]duckdb.TypeInfo, t.f.Load().Args)
	for i := range args {
		args[i] = t.text
	}
	return duckdb.ScalarFuncConfig{InputTypeInfos: args, ResultTypeInfo: t.text}
}

// Executor is part of the driver's interface.
func (t *textFunc) Executor() duckdb.ScalarFuncExecutor {
	return duckdb.ScalarFuncExecutor{ChunkContextExecutor: t.chunk}
}

// chunk calls the function for every row of a vector. A panic must not unwind through
// DuckDB.
func (t *textFunc) chunk(_ context.Context, state *duckdb.ChunkIteratorState) (err error) {
	f := t.f.Load()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("function %s panicked", f.Name) // with what may be a secret
		}
	}()
	in := state.GetInputChunk()
	views := make([]duckdb.VectorView[string], f.Args)
	for i := range views {
		vector, err := in.GetVector(i)
		if err != nil {
			return err
		}
		if views[i], err = duckdb.GetVectorView[string](vector); err != nil {
			return err
		}
	}
	out, err := duckdb.GetVectorWriter[string](state.GetResultVector())
	if err != nil {
		return err
	}
	args := make([]string, f.Args)
	for row := range in.GetSize() {
		given := true
		for i := range views {
			value, ok, err := views[i].GetValueBorrowed(row)
			if err != nil {
				return err
			}
			args[i], given = value, given && ok
		}
		if !given {
			continue // the driver sets it to null
		}
		result, ok := f.Call(args)
		if ok {
			err = out.Set(row, result)
		} else {
			err = out.SetNull(row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
