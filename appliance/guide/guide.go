// Package guide is the user guide: Markdown pages that ship inside the program.
// It promises a page for every name that Pages lists, in the order in which one
// reads them; it does not format them.
package guide

import (
	"embed"
	"strings"
)

//go:embed *.md monitoring
var files embed.FS

// names are the pages in reading order, one a line. Each is the name of a file here.
var names = []string{
	"start",
	"project",
	"target",
	"sources",
	"databases",
	"masking",
	"profile",
	"transforms",
	"options",
	"lookups",
	"patterns",
	"files",
	"stage",
	"delta",
	"checks",
	"plan",
	"estimate",
	"cutover",
	"load",
	"performance",
	"figures",
	"service",
	"console",
	"monitoring",
	"errors",
	"codes",
	"rollback",
	"reconcile",
	"report",
	"sql",
	"ledger",
	"snapshots",
	"emulator",
	"faults",
	"security",
	"json",
	"formats",
	"exit-status",
	"developers",
}

// Generated are pages that the command line makes of its own definitions.
var Generated = []string{"commands", "settings"}

// Page is one page of the guide.
type Page struct {
	Name  string // as given to `dvmigrate guide`
	Title string // its first line, without the mark of a heading
	Text  string // Markdown, the title included; ends with a line end
}

// Pages returns all pages in reading order.
func Pages() []Page {
	pages := make([]Page, len(names))
	for i, name := range names {
		pages[i] = read(name)
	}
	return pages
}

func read(name string) Page {
	b, err := files.ReadFile(name + ".md")
	if err != nil {
		panic(err) // the file is part of the program
	}
	title, _, _ := strings.Cut(string(b), "\n")
	return Page{Name: name, Title: strings.TrimPrefix(title, "# "), Text: string(b)}
}

// File is a file that ships with a page, for another program.
type File struct {
	Name string
	Data []byte
}

// Files returns what ships with the page of that name, in order of name; mostly nothing.
func Files(page string) []File {
	var out []File
	list, err := files.ReadDir(page)
	if err != nil {
		return nil
	}
	for _, f := range list {
		b, err := files.ReadFile(page + "/" + f.Name())
		if err != nil {
			panic(err) // the file is part of the program
		}
		out = append(out, File{f.Name(), b})
	}
	return out
}
