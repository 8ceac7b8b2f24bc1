package cli

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"strings"
	"time"

	"dvmigrate/appliance"
)

//go:embed page.html
var pageFrame string

// writePage writes a page of its own, without anything from elsewhere, for people who do
// not have the program. body defines the template "body" over .Data; values are quoted,
// so the file is its owner's only.
func writePage(path, body, project string, data any) error {
	funcs := template.FuncMap{
		"count":    func(n int64) string { return count(n) },
		"form":     appliance.FormLink,
		"first":    firstGroups,
		"list":     func(k []string) string { return strings.Join(k, ", ") },
		"duration": duration,
		"sub":      func(a, b float64) float64 { return a - b },
		"right":    func(c column) bool { return c.right },
		"title":    func(c column) string { return c.title },
		"day":      func(t any) string { return dayText(t) },
		"percent":  func(share float64) string { return fmt.Sprintf("%.1f", 100*share) },
	}
	t, err := template.New("page").Funcs(funcs).Parse(pageFrame)
	if err == nil {
		t, err = t.Parse(body)
	}
	if err != nil {
		return err
	}
	var page bytes.Buffer
	err = t.Execute(&page, map[string]any{"Project": project, "Data": data, "When": time.Now().Format("2006-01-02 15:04 MST")})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// dayText is a time as people read it, of a time.Time or a pointer to one.
func dayText(t any) string {
	if p, ok := t.(*time.Time); ok {
		t = *p
	}
	return at(t.(time.Time))
}
